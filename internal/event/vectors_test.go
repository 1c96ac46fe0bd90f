package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write testdata/vectors anew from the code: only for a deliberate change of the format")

// vector is an entry of testdata/vectors/index.json, for readers in any
// language.
type vector struct {
	Name    string `json:"name"` // the file is NAME.json
	SHA256  string `json:"sha256"`
	Bytes   int    `json:"bytes"`
	Verdict string `json:"verdict"` // canonical, valid (but not as a writer writes it), unknown_type, invalid
	Schema  bool   `json:"schema"`  // whether schema.json accepts it
	Shows   string `json:"shows"`
	raw     []byte
}

const vectorDir = "testdata/vectors"

func readVectors(t testing.TB) []vector {
	t.Helper()
	index, err := os.ReadFile(filepath.Join(vectorDir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(index, &vs); err != nil {
		t.Fatal(err)
	}
	for i := range vs {
		if vs[i].raw, err = os.ReadFile(filepath.Join(vectorDir, vs[i].Name+".json")); err != nil {
			t.Fatal(err)
		}
	}
	return vs
}

// The published bytes are what the code writes today, to the byte: whoever
// changes the format changes the vectors knowingly.
func TestVectorsAreWhatTheCodeWrites(t *testing.T) {
	made := makeVectors(t)
	if *update {
		writeVectors(t, made)
	}
	published := readVectors(t)
	if len(made) != len(published) {
		t.Fatalf("%d vectors are published, the code makes %d", len(published), len(made))
	}
	for i, v := range made {
		p := published[i]
		if p.Name != v.Name || !bytes.Equal(p.raw, v.raw) || p.Verdict != v.Verdict || p.Schema != v.Schema || p.Shows != v.Shows {
			t.Errorf("vector %s is published as %s and differs", v.Name, p.Name)
		}
	}
	files, err := os.ReadDir(vectorDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(published)+1 {
		t.Errorf("%d files for %d vectors and their index", len(files), len(published))
	}
}

// Every vector gets its verdict from Decode and from the schema, and canonical
// ones encode to the same bytes again.
func TestVectors(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			if d := sha256.Sum256(v.raw); hex.EncodeToString(d[:]) != v.SHA256 || Digest(v.raw) != d || len(v.raw) != v.Bytes {
				t.Errorf("digest or size are not those of the index")
			}
			e, err := Decode(v.raw)
			switch v.Verdict {
			case "canonical":
				if err != nil {
					t.Fatal(err)
				}
				if again := canonical(t, e); !bytes.Equal(again, v.raw) {
					t.Errorf("encoded again:\n%s\nthe vector:\n%s", again, v.raw)
				}
			case "valid":
				if err != nil {
					t.Fatal(err)
				}
				if again := canonical(t, e); bytes.Equal(again, v.raw) {
					t.Errorf("it is canonical")
				}
			case "unknown_type":
				if !errors.Is(err, ErrUnknownType) || !errors.Is(err, ErrInvalid) || e == nil || e.Seq == 0 || e.Writer == "" {
					t.Errorf("got %+v, %v", e, err)
				}
			case "invalid":
				if !errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnknownType) || e != nil {
					t.Errorf("got %+v, %v", e, err)
				}
			default:
				t.Errorf("verdict %q", v.Verdict)
			}
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(v.raw))
			if err == nil {
				err = schema.Validate(value)
			}
			if (err == nil) != v.Schema {
				t.Errorf("the schema says: %v", err)
			}
			if v.Schema && v.Verdict == "invalid" && !strings.Contains(v.Shows, "schema") {
				t.Errorf("a schema accepts what Decode refuses, and the vector does not say why")
			}
		})
	}
}

// What is refused is told without any of its content: errors go to logs.
func TestErrorsTellNoValues(t *testing.T) {
	for _, v := range readVectors(t) {
		if _, err := Decode(v.raw); err != nil {
			for _, value := range []string{"proxy-1", "k7f3q9zt", "kyc", "risk", "01a0c450", "surprise", "moon"} {
				if strings.Contains(err.Error(), value) {
					t.Errorf("%s: the error has a value of the event: %v", v.Name, err)
				}
			}
		}
	}
}

func writeVectors(t *testing.T, vs []vector) {
	t.Helper()
	if err := os.RemoveAll(vectorDir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(vectorDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range vs {
		d := sha256.Sum256(vs[i].raw)
		vs[i].SHA256, vs[i].Bytes = hex.EncodeToString(d[:]), len(vs[i].raw)
		if err := os.WriteFile(filepath.Join(vectorDir, vs[i].Name+".json"), vs[i].raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	index, err := json.MarshalIndent(vs, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(vectorDir, "index.json"), append(index, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
