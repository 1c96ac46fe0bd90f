package governance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/money"
)

func day(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// withKeys is the base folder with keys of our own, and their texts.
func withKeys(t testing.TB, keys string) (*Snapshot, map[string]string) {
	t.Helper()
	texts := folder(t, "testdata/base")
	for i := 0; strings.Contains(keys, "HASH"); i++ { // any hash of its own
		sum := sha256.Sum256([]byte{byte(i)})
		keys = strings.Replace(keys, "HASH", hex.EncodeToString(sum[:]), 1)
	}
	rekeyed, secrets, err := Rekey([]byte(keys))
	if err != nil {
		t.Fatal(err)
	}
	texts["keys.yaml"] = rekeyed
	return mustBuild(t, texts), secrets
}

func TestKey(t *testing.T) {
	s, texts := withKeys(t, `keys:
  - {id: riskdesk, sha256: HASH, business_unit: retail, team: risk, project: scoring, application: own-app, user: svc-17, use_cases: [kyc, chat], max_body_bytes: 1000, expires: 2027-01-01}
  - {id: otherdesk, sha256: HASH, use_cases: [chat]}
  - {id: pausedkey, sha256: HASH, use_cases: [chat], disabled: true}
`)
	now := day(t, "2026-11-24T12:00:00Z")
	k, err := s.Key(texts["riskdesk"], now)
	if err != nil {
		t.Fatal(err)
	}
	got := *k
	got.hash = [32]byte{}
	if want := (Key{ID: "riskdesk", BusinessUnit: "retail", Team: "risk", Project: "scoring", Application: "own-app", User: "svc-17",
		UseCases: []string{"kyc", "chat"}, MaxBody: 1000, Expires: day(t, "2027-01-01T00:00:00Z")}); !reflect.DeepEqual(got, want) {
		t.Errorf("key %+v, want %+v", got, want)
	}
	text := texts["riskdesk"]
	last := "0"
	if strings.HasSuffix(text, last) {
		last = "1"
	}
	for name, tt := range map[string]struct {
		text string
		at   string
		want error
	}{
		"good":                      {text, "2026-12-31T23:59:59Z", nil},
		"expired":                   {text, "2027-01-01T00:00:00Z", ErrKeyExpired},
		"disabled":                  {texts["pausedkey"], "2026-12-31T00:00:00Z", ErrKeyDisabled},
		"no expiry":                 {texts["otherdesk"], "2099-01-01T00:00:00Z", nil},
		"wrong secret":              {text[:len(text)-1] + last, "2026-12-31T00:00:00Z", ErrNoKey},
		"wrong secret, expired":     {text[:len(text)-1] + last, "2027-12-31T00:00:00Z", ErrNoKey},
		"another key's secret":      {strings.Replace(texts["otherdesk"], "otherdesk", "riskdesk", 1), "2026-12-31T00:00:00Z", ErrNoKey},
		"unknown id":                {strings.Replace(text, "riskdesk", "riskdisk", 1), "2026-12-31T00:00:00Z", ErrNoKey},
		"more":                      {text + "a", "2026-12-31T00:00:00Z", ErrNoKey},
		"much more":                 {text + strings.Repeat("a", 1000), "2026-12-31T00:00:00Z", ErrNoKey},
		"less":                      {text[:len(text)-1], "2026-12-31T00:00:00Z", ErrNoKey},
		"the id alone":              {"ll_riskdesk", "2026-12-31T00:00:00Z", ErrNoKey},
		"the id, no secret":         {"ll_riskdesk_", "2026-12-31T00:00:00Z", ErrNoKey},
		"the hash for a key":        {hex.EncodeToString(k.hash[:]), "2026-12-31T00:00:00Z", ErrNoKey},
		"another prefix":            {"sk" + text[2:], "2026-12-31T00:00:00Z", ErrNoKey},
		"nothing":                   {"", "2026-12-31T00:00:00Z", ErrNoKey},
		"the text of an empty hash": {"ll_nobody00_x", "2026-12-31T00:00:00Z", ErrNoKey},
	} {
		if k, err := s.Key(tt.text, day(t, tt.at)); !errors.Is(err, tt.want) || (err == nil) != (k != nil) {
			t.Errorf("%s: %v, %v; want %v", name, k, err, tt.want)
		}
	}
}

// The longest key that is accepted is compared to its last byte.
func TestKeyLength(t *testing.T) {
	text := "ll_riskdesk_" + strings.Repeat("k", maxKey-len("ll_riskdesk_"))
	for _, text := range []string{text, text + "k"} {
		sum := sha256.Sum256([]byte(text))
		s := mustBuild(t, changed(t, "keys.yaml", "d1c7f38ad6b3fd57f6ccf3d67c5e7a3b0c9d6a6a4c1be2d9a6a2c7f2b9a4e111", hex.EncodeToString(sum[:])))
		for _, with := range []string{text, text[:maxKey-1], text[:maxKey-1] + "l", text + "k"} {
			if _, err := s.Key(with, day(t, "2026-11-24T00:00:00Z")); (err == nil) != (with == text && len(text) <= maxKey) {
				t.Errorf("key of %d bytes, asked with %d: %v", len(text), len(with), err)
			}
		}
	}
}

func TestRekey(t *testing.T) {
	texts := folder(t, exampleDir)
	before := texts["keys.yaml"]
	rekeyed, keys, err := Rekey(before)
	if err != nil {
		t.Fatal(err)
	}
	texts["keys.yaml"] = rekeyed
	s := mustBuild(t, texts)
	if len(keys) != len(s.Keys()) || len(rekeyed) != len(before) || bytes.Count(rekeyed, []byte("#")) != bytes.Count(before, []byte("#")) {
		t.Errorf("%d texts for %d keys, %d bytes of %d", len(keys), len(s.Keys()), len(rekeyed), len(before))
	}
	seen := map[string]bool{}
	for _, k := range s.Keys() {
		text := keys[k.ID]
		_, secret, _ := strings.Cut(strings.TrimPrefix(text, "ll_"), "_")
		if len(secret) != 43 || seen[secret] || strings.Trim(secret, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("key %s: secret of %d characters, seen before: %v", k.ID, len(secret), seen[secret])
		}
		seen[secret] = true
		if got, err := s.Key(text, day(t, "2025-06-01T00:00:00Z")); err == nil && got != k || err != nil && !k.Disabled {
			t.Errorf("key %s: %v, %v", k.ID, got, err)
		}
	}
}

func TestDimensions(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/base"))
	for _, tt := range []struct {
		dimension, value, want string
		known                  bool
	}{
		{"team", "risk", "risk", true}, {"team", "credit risk", "risk", true}, {"team", "Risk", "Risk", false}, {"team", "", "", false},
		{"application", "the-desk", "desk", true}, {"application", "anything", "anything", true},
		{"user", "u_0123456789abcdef", "u_0123456789abcdef", true},
		{"use_case", "kyc-review", "kyc", true}, {"use_case", "kyb", "kyb", false},
		{"colour", "red", "red", false},
	} {
		if got, known := s.Canonical(tt.dimension, tt.value); got != tt.want || known != tt.known {
			t.Errorf("Canonical(%s, %s) = %s, %v; want %s, %v", tt.dimension, tt.value, got, known, tt.want, tt.known)
		}
	}
	for _, tt := range []struct {
		dimension, value, at, want string
	}{
		{"team", "risk", "2025-12-31T23:59:59Z", ""},
		{"team", "risk", "2026-01-01T00:00:00Z", "retail"},
		{"team", "risk", "2026-10-31T23:59:59.999999Z", "retail"},
		{"team", "risk", "2026-11-01T00:00:00Z", "corporate"},
		{"team", "risk", "2026-11-01T00:30:00+01:00", "retail"},
		{"project", "scoring", "2030-01-01T00:00:00Z", "risk"},
		{"project", "other", "2030-01-01T00:00:00Z", ""},
		{"business_unit", "retail", "2030-01-01T00:00:00Z", ""},
	} {
		if got, ok := s.Parent(tt.dimension, tt.value, day(t, tt.at)); got != tt.want || ok != (tt.want != "") {
			t.Errorf("Parent(%s, %s, %s) = %q, %v; want %q", tt.dimension, tt.value, tt.at, got, ok, tt.want)
		}
	}
	kyc, _ := s.UseCase("kyc")
	chat, _ := s.UseCase("chat")
	for _, tt := range []struct{ got, want any }{
		{s.Mode(), "enforce"}, {s.Required(), []string{"team", "use_case"}}, {s.Default("project"), "other"}, {s.Default("team"), ""},
		{kyc.Required, []string{"team", "user"}}, {chat.Required, []string{"team", "use_case"}},
		{s.Values("business_unit"), []Value{{ID: "retail"}, {ID: "corporate"}}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%v, want %v", tt.got, tt.want)
		}
	}
}

func TestDataset(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/base"))
	accounts, ok := s.Dataset(DatasetID{"pg://crm", "accounts"})
	if !ok || len(s.Datasets()) != 2 || s.Datasets()[0] != accounts {
		t.Fatalf("%+v, %v; all %v", accounts, ok, s.Datasets())
	}
	june := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	want := &Dataset{DatasetID{"pg://crm", "accounts"}, "table", "head of data", "confidential", []Upstream{
		{DatasetID{"pg://core", "customers"}, time.Time{}, june}, {DatasetID{"pg://core", "people"}, june, time.Time{}}, {DatasetID: DatasetID{"s3://raw", "accounts.csv"}},
	}}
	if !reflect.DeepEqual(accounts, want) {
		t.Errorf("%+v\nwant %+v", accounts, want)
	}
	for _, tt := range []struct {
		at   time.Time
		want [3]bool
	}{{june.Add(-1), [3]bool{true, false, true}}, {june, [3]bool{false, true, true}}} {
		var got [3]bool
		for i := range accounts.Upstream {
			got[i] = accounts.Upstream[i].Holds(tt.at)
		}
		if got != tt.want {
			t.Errorf("at %s the upstream datasets hold %v, want %v", tt.at, got, tt.want)
		}
	}
	if d, ok := s.Dataset(DatasetID{"pg://core", "customers"}); ok {
		t.Errorf("a dataset that is only named as upstream is listed: %+v", d)
	}
	for text, want := range map[string]bool{"a|b": true, "a|b|c": true, "a|": false, "|b": false, "ab": false, "": false} {
		if id, ok := ParseDatasetID(text); ok != want || ok && id.String() != text {
			t.Errorf("%q: %v %v", text, id, ok)
		}
	}
}

// A use case for less sensitive data than a source of it holds is allowed, but
// probably not meant.
func TestClassificationOfSources(t *testing.T) {
	s := mustBuild(t, changed(t, estateYAML, "owner: head of data\n    classification: confidential", "owner: head of data\n    classification: restricted"))
	if want := "estate.yaml:13:71: use case kyc is for confidential data, but its source pg://crm accounts is restricted"; s.Warnings.Error() != want {
		t.Errorf("warnings %q, want %q", s.Warnings.Error(), want)
	}
}

func TestUseCase(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/base"))
	kyc, ok := s.UseCase("kyc")
	if !ok {
		t.Fatal("no use case kyc")
	}
	got := *kyc
	got.rule, got.whys = nil, nil
	if want := (UseCase{ID: "kyc", Name: "Review customer files", Owner: "head of risk", Team: "risk", Project: "scoring", Workload: "interactive",
		RetentionClass: "regulated", Classification: "confidential", Regulations: []string{"gdpr"}, EstimateMonthlyUSD: 1200_500_000_000_000,
		Endpoints: []string{"eu", "us"}, Required: []string{"team", "user"}, Disconnect: "drain", Lineage: "required", OnMissingSources: "reject",
		Sources: []Source{{"s3://files", "customers", "file"}, {"pg://crm", "accounts", "table"}}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	chat, _ := s.UseCase("chat")
	if chat.Workload != "batch" || chat.Disconnect != "cancel" || !reflect.DeepEqual(chat.Endpoints, []string{"us"}) {
		t.Errorf("%+v", chat)
	}
	if _, ok := s.UseCase("kyc-review"); ok {
		t.Error("an alias is not an id")
	}
}

func TestEndpoint(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/base"))
	eu, _ := s.Endpoint("eu")
	us, _ := s.Endpoint("us")
	for _, tt := range []struct{ got, want *Endpoint }{
		{eu, &Endpoint{ID: "eu", Provider: "openai", Region: "eu", BaseURL: "https://eu.example.com", APIPath: "/v1", Formats: []string{"openai.chat", "openai.embeddings"},
			Models: map[string]string{"small": "small", "large": "large"}, Credential: Credential{Env: "OPENAI_API_KEY", Header: "authorization"}, IncludeUsage: true,
			Timeout: Timeouts{5 * time.Second, 2 * time.Minute, 15 * time.Minute}}},
		{us, &Endpoint{ID: "us", Provider: "openai", Region: "us", BaseURL: "https://us.example.com/base", APIPath: "/v2/compatible", Formats: []string{"openai.chat"},
			Models: map[string]string{"small": "small", "fast": "small", "*": "*"}, Credential: Credential{File: "/run/secrets/key", Header: "api-key"},
			IncludeUsage: true, Timeout: Timeouts{time.Second, 2 * time.Minute, time.Hour}, CAFile: "/etc/ca.pem", EgressProxy: "http://proxy.example.com:3128", MaxConns: 64}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%+v\nwant %+v", tt.got, tt.want)
		}
	}
	p, ok := s.Provider("openai")
	if !ok || !reflect.DeepEqual(p.Endpoints, []*Endpoint{eu, us}) || p.DPADocument != "dpa.pdf" || !p.DPAExpires.Equal(day(t, "2027-12-31T00:00:00Z")) || len(s.Providers()) != 2 {
		t.Errorf("provider %+v", p)
	}
	for _, tt := range []struct {
		e         *Endpoint
		name, out string
		ok        bool
	}{{eu, "small", "small", true}, {eu, "fast", "fast", false}, {us, "fast", "small", true}, {us, "any", "any", true}} {
		if out, ok := tt.e.Upstream(tt.name); out != tt.out || ok != tt.ok {
			t.Errorf("%s: Upstream(%s) = %s, %v", tt.e.ID, tt.name, out, ok)
		}
	}
}

func TestRoute(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/base"))
	for _, tt := range []struct {
		useCase, format, model string
		want                   string
		err                    error
	}{
		{"kyc", "openai.chat", "small", "[eu us] [] kyc-primary: Use case kyc goes to eu first, as rule kyc-primary lists it; us is the fallback.", nil},
		{"kyc", "openai.chat", "fast", "[us] [{eu does not serve fast}] kyc-primary: Use case kyc goes to us, the first of rule kyc-primary that speaks openai.chat and serves the model; there is no fallback.", nil},
		{"kyc", "openai.chat", "never heard of", "[us] [{eu serves only the models it lists}] kyc-primary: Use case kyc goes to us, the first of rule kyc-primary that speaks openai.chat and serves the model; there is no fallback.", nil},
		{"kyc", "openai.embeddings", "large", "[eu] [{us does not speak openai.embeddings}] kyc-primary: Use case kyc goes to eu first, as rule kyc-primary lists it; there is no fallback.", nil},
		{"chat", "openai.chat", "large", "[us] [] default: Use case chat goes to us first, as rule default lists it; there is no fallback.", nil},
		{"", "openai.chat", "large", "[us] [] default: A call without a use case goes to us first, as rule default lists it; there is no fallback.", nil},
		{"chat", "openai.embeddings", "large", `[] [{us does not speak openai.embeddings}] default: no route: rule default, for use case chat, lists no endpoint that speaks openai.embeddings and serves "large"`, ErrNoRoute},
		{"", "openai.embeddings", "large", `[] [{us does not speak openai.embeddings}] default: no route: rule default, for calls without a use case, lists no endpoint that speaks openai.embeddings and serves "large"`, ErrNoRoute},
		{"kyc", "openai.embeddings", "other", `[] [{eu does not serve other} {us does not speak openai.embeddings}] kyc-primary: no endpoint serves the model "other" in the format openai.embeddings`, ErrUnknownModel},
		{"kyc", "anthropic.messages", "small", `[] [{eu does not speak anthropic.messages} {us does not speak anthropic.messages}] kyc-primary: no endpoint serves the model "small" in the format anthropic.messages`, ErrUnknownModel},
	} {
		u, _ := s.UseCase(tt.useCase)
		r, err := s.Route(u, tt.format, tt.model)
		ids := []string{}
		for _, e := range r.Endpoints {
			ids = append(ids, e.ID)
		}
		why := r.Why
		if err != nil {
			why = err.Error()
		}
		if got := fmt.Sprintf("%v %v %s: %s", ids, r.Rejected, r.Rule, why); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s, %s, %s: %v\n got %s\nwant %s", tt.useCase, tt.format, tt.model, err, got, tt.want)
		}
	}
	strict := mustBuild(t, changed(t, "routing.yaml", "default: {id: default, endpoints: [us]}", "", "use_cases: [kyc]", "use_cases: [kyc, chat]"))
	if _, err := strict.Route(nil, "openai.chat", "small"); !errors.Is(err, ErrNoRoute) {
		t.Errorf("no use case and no default rule: %v", err)
	}
	// The sentences for more fallbacks, and the limit of an event's text.
	long := strings.Repeat("x", 64)
	var endpoints, list strings.Builder
	for i := range maxEndpoints {
		id := fmt.Sprintf("%s%02d", long[2:], i)
		models := fmt.Sprintf("m%d", min(i, 3))
		if i == 0 {
			models = "m0, m1, m2, m3"
		}
		fmt.Fprintf(&endpoints, "\n      - {id: %s, base_url: \"https://x.example.com\", formats: [openai.chat], models: [%s]}", id, models)
		fmt.Fprintf(&list, "%s, ", id)
	}
	texts := changed(t, "registry.yaml", "    endpoints:\n", "    endpoints:"+endpoints.String()+"\n")
	texts["routing.yaml"] = fmt.Appendf(nil, "default: {id: %s, endpoints: [%s]}\nrules: []\n", long, list.String())
	s = mustBuild(t, texts)
	u, _ := s.UseCase("kyc")
	for model, want := range map[string]string{"m0": "; there is no fallback.", "m3": fmt.Sprintf("; %s03 and 12 more are the fallbacks.", long[2:])} {
		r, err := s.Route(u, "openai.chat", model)
		if err != nil || !strings.HasSuffix(r.Why, want) || len(r.Why) > 512 {
			t.Errorf("%s: %v, %d bytes: %s", model, err, len(r.Why), r.Why)
		}
	}
	for range 10 { // maps must not show
		if !reflect.DeepEqual(s, mustBuild(t, texts)) {
			t.Fatal("the same files, another snapshot")
		}
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct{ file, old, new, want string }{
		{"registry.yaml", "models: [small, large]", "models: [small, large, tiny]", "registry.yaml:10:132: endpoint eu serves tiny, which has no price in prices.yaml: its calls will be unpriced"},
		{"registry.yaml", "renames: {fast: small}", "renames: {fast: fastest}", "registry.yaml:17:25: endpoint us serves fastest, which has no price in prices.yaml: its calls will be unpriced"},
		{"registry.yaml", "[internal, confidential]", "[internal]", "routing.yaml: use case kyc holds confidential data and may go to eu, but provider openai is not permitted such data\n" +
			"routing.yaml: use case kyc holds confidential data and may go to us, but provider openai is not permitted such data"},
		{"registry.yaml", "models: [small, large], include_usage: true", "models: [small, large]", "registry.yaml:10:14: endpoint eu speaks openai.chat without include_usage: its streamed answers will have no usage and no cost"},
		{"prices.yaml", `"9.123456"`, `"2500"`, "prices.yaml:21:63: large: 2500 dollars per million tokens of input: is the unit right?"},
	} {
		if got := mustBuild(t, changed(t, tt.file, tt.old, tt.new)).Warnings.Error(); got != tt.want {
			t.Errorf("%s → %s: %s\nwant %s", tt.old, tt.new, got, tt.want)
		}
	}
}

func TestPrice(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/base"))
	const unpriced = "unpriced"
	for _, tt := range []struct {
		what, model, region, tier, class string
		context                          int64
		at                               string
		want                             string // per million and the id
	}{
		{"plain", "small", "us", "standard", "input", 10, "2026-06-01T00:00:00Z", "0.25 openai/small//standard/0/input@2026-01-01"},
		{"no tier told", "small", "us", "", "input", 10, "2026-06-01T00:00:00Z", "0.25 openai/small//standard/0/input@2026-01-01"},
		{"OpenAI's word for the standard tier", "small", "us", "default", "input", 10, "2026-06-01T00:00:00Z", "0.25 openai/small//standard/0/input@2026-01-01"},
		{"by its other name", "small-2026-01-01", "us", "standard", "input", 10, "2026-06-01T00:00:00Z", "0.25 openai/small//standard/0/input@2026-01-01"},
		{"by a similar name", "small-2026-01-02", "us", "standard", "input", 10, "2026-06-01T00:00:00Z", unpriced},
		{"at the bound", "small", "us", "standard", "input", 200000, "2026-06-01T00:00:00Z", "0.25 openai/small//standard/0/input@2026-01-01"},
		{"above the bound", "small", "us", "standard", "input", 200001, "2026-06-01T00:00:00Z", "0.5 openai/small//standard/200000/input@2026-01-01"},
		{"a class that the band lacks is not borrowed from below", "small", "us", "standard", "cache_read", 200001, "2026-06-01T00:00:00Z", unpriced},
		{"below the bound it is there", "small", "us", "standard", "cache_read", 5, "2026-06-01T00:00:00Z", "0.025 openai/small//standard/0/cache_read@2026-01-01"},
		{"the region's own price", "small", "eu", "standard", "input", 10, "2026-06-01T00:00:00Z", "0.275 openai/small/eu/standard/0/input@2026-01-01"},
		{"the region's own price without a band", "small", "eu", "standard", "input", 300000, "2026-06-01T00:00:00Z", "0.275 openai/small/eu/standard/0/input@2026-01-01"},
		{"a class that the region lacks is not borrowed", "small", "eu", "standard", "cache_read", 10, "2026-06-01T00:00:00Z", unpriced},
		{"a tier that the region lacks is for every region", "small", "eu", "batch", "input", 10, "2026-06-01T00:00:00Z", "0.125 openai/small//batch/0/input@2026-01-01"},
		{"no region told", "small", "", "standard", "input", 10, "2026-06-01T00:00:00Z", "0.25 openai/small//standard/0/input@2026-01-01"},
		{"an unknown tier", "small", "us", "flex", "input", 10, "2026-06-01T00:00:00Z", unpriced},
		{"before the book", "small", "us", "standard", "input", 10, "2025-12-31T23:59:59.999999Z", unpriced},
		{"the last moment of a price", "small", "us", "standard", "input", 10, "2026-11-14T23:59:59.999999Z", "0.25 openai/small//standard/0/input@2026-01-01"},
		{"the first of the next", "small", "us", "standard", "input", 10, "2026-11-15T00:00:00Z", "0.2 openai/small//standard/0/input@2026-11-15"},
		{"a band that the next price dropped", "small", "us", "standard", "input", 300000, "2026-11-15T00:00:00Z", "0.2 openai/small//standard/0/input@2026-11-15"},
		{"a class that the next price dropped", "small", "us", "standard", "cache_read", 10, "2026-11-15T00:00:00Z", unpriced},
		{"another tier goes on", "small", "us", "batch", "input", 10, "2026-11-15T00:00:00Z", "0.125 openai/small//batch/0/input@2026-01-01"},
		{"free, any class and tier", "large", "us", "batch", "output_audio", 10, "2026-06-01T00:00:00Z", "0 openai/large///0/free@2026-01-01"},
		{"free no more", "large", "us", "standard", "input", 10, "2026-11-15T00:00:00Z", "9.123456 openai/large//standard/0/input@2026-11-15"},
		{"free no more, in a tier without a price", "large", "us", "batch", "input", 10, "2026-11-15T00:00:00Z", unpriced},
		{"zero is a price", "large", "us", "standard", "output", 10, "2026-11-15T00:00:00Z", "0 openai/large//standard/0/output@2026-11-15"},
		{"another provider", "other", "us", "standard", "input", 10, "2026-06-01T00:00:00Z", unpriced},
	} {
		p, ok := s.Price(PriceKey{"openai", tt.model, tt.region, tt.tier, tt.class, tt.context, day(t, tt.at)})
		got := p.Rate.PerMillion() + " " + p.ID
		switch {
		case !ok:
			got = unpriced
		}
		if got != tt.want || ok && p.Source != "list" {
			t.Errorf("%s: %s (source %s), want %s", tt.what, got, p.Source, tt.want)
		}
	}
	if _, ok := s.Price(PriceKey{"idle", "small", "us", "standard", "input", 1, day(t, "2026-06-01T00:00:00Z")}); ok {
		t.Error("a price borrowed from another provider")
	}
	// A priced model that becomes free.
	s = mustBuild(t, changed(t, "prices.yaml", `      - {model: large, prices: [{tier: standard, usd: {input: "9.123456", output: "0"}}]}`, "", "- {model: small, served_as: [small-2026-01-01], prices: [{tier: standard, usd: {input: \"0.2\", output: \"1.5\"}}]}", "- {model: small, served_as: [small-2026-01-01], free: true}"))
	for _, region := range []string{"eu", "us", ""} {
		for _, model := range []string{"small", "small-2026-01-01"} {
			before, _ := s.Price(PriceKey{"openai", model, region, "standard", "input", 1, day(t, "2026-11-14T00:00:00Z")})
			after, ok := s.Price(PriceKey{"openai", model, region, "standard", "input", 1, day(t, "2026-11-15T00:00:00Z")})
			if before.Rate == 0 || !ok || after.Rate != 0 || !strings.Contains(after.ID, "/free@2026-11-15") {
				t.Errorf("%s in %q: %v, then %v", model, region, before, after)
			}
		}
	}
}

// One event's cost, so that the book and the money package are seen to agree
// on the unit.
func TestPriceUnit(t *testing.T) {
	s := mustBuild(t, folder(t, exampleDir))
	p, ok := s.Price(PriceKey{"openai", "gpt-5-mini-2025-08-07", "us", "default", "input", 1_000_000, day(t, "2026-11-24T00:00:00Z")})
	cost, err := p.Rate.Cost(1_000_000)
	if !ok || err != nil || cost.String() != "0.250000000000" {
		t.Errorf("a million tokens of gpt-5-mini: %s, %v", cost, err)
	}
}

// What a call will cost at most, before it is made: by the same book.
func TestEstimate(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/base"))
	const unknown = "unknown"
	for _, tt := range []struct {
		what, model, region, tier string
		input, output             int64
		at, want                  string
	}{
		{"input and output", "small", "us", "", 1000, 500, "2026-06-01T00:00:00Z", "0.001250000000"},
		{"no output", "small", "us", "", 1000, 0, "2026-06-01T00:00:00Z", "0.000250000000"},
		{"the region's own price", "small", "eu", "", 1000, 500, "2026-06-01T00:00:00Z", "0.001375000000"},
		{"the band of large requests", "small", "us", "", 200_001, 1, "2026-06-01T00:00:00Z", "0.100003500000"},
		{"another tier", "small", "us", "batch", 1000, 500, "2026-06-01T00:00:00Z", "0.000625000000"},
		{"free", "large", "us", "", 1000, 500, "2026-06-01T00:00:00Z", "0.000000000000"},
		{"an unknown tier", "small", "us", "flex", 1000, 500, "2026-06-01T00:00:00Z", unknown},
		{"an unknown model", "smaller", "us", "", 1000, 500, "2026-06-01T00:00:00Z", unknown},
		{"before the book", "small", "us", "", 1000, 500, "2025-06-01T00:00:00Z", unknown},
		{"more than an amount can be", "small", "us", "", 1000, 1 << 60, "2026-06-01T00:00:00Z", unknown},
	} {
		cost, ok := s.Estimate(PriceKey{Provider: "openai", Model: tt.model, Region: tt.region, Tier: tt.tier, ContextTokens: tt.input, At: day(t, tt.at)}, tt.output)
		got := cost.String()
		if !ok {
			got = unknown
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
}

// The proxy and ingest ask for these with every call.
func TestLookupsDoNotAllocate(t *testing.T) {
	s, texts := withKeys(t, "keys: [{id: riskdesk, sha256: HASH, use_cases: [kyc]}]")
	u, _ := s.UseCase("kyc")
	text, now := texts["riskdesk"], day(t, "2026-11-24T00:00:00Z")
	price := PriceKey{"openai", "small", "us", "standard", "input", 1000, now}
	for name, f := range map[string]func(){
		"Key":            func() { s.Key(text, now) },
		"Key, unknown":   func() { s.Key("ll_unknownid_secret", now) },
		"UseCase":        func() { s.UseCase("kyc") },
		"Route":          func() { s.Route(u, "openai.chat", "small") },
		"Route, other":   func() { s.Route(u, "openai.chat", "unheard of") },
		"Endpoint":       func() { s.Endpoint("eu") },
		"Upstream":       func() { u.rule.endpoints[0].Upstream("small") },
		"Price":          func() { s.Price(price) },
		"Estimate":       func() { s.Estimate(price, 500) },
		"Canonical":      func() { s.Canonical("team", "credit risk") },
		"Parent":         func() { s.Parent("team", "risk", now) },
		"Required, Mode": func() { s.Required(); s.Mode(); s.Default("project") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Many goroutines on one snapshot; the race detector is the assertion.
func TestConcurrentUse(t *testing.T) {
	s, texts := withKeys(t, "keys: [{id: riskdesk, sha256: HASH, use_cases: [kyc]}]")
	now := day(t, "2026-11-24T00:00:00Z")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				k, err := s.Key(texts["riskdesk"], now)
				if err != nil {
					t.Error(err)
					return
				}
				u, _ := s.UseCase(k.UseCases[0])
				if _, err := s.Route(u, "openai.chat", "small"); err != nil {
					t.Error(err)
				}
				if _, err := s.Route(u, "openai.embeddings", "none"); err == nil {
					t.Error("a route to nowhere")
				}
				s.Price(PriceKey{"openai", "small", "us", "standard", "input", 1, now})
				s.Parent("team", "risk", now)
				s.Changed(nil)
			}
		})
	}
	all.Wait()
}

var sink money.Rate

func BenchmarkLookups(b *testing.B) {
	texts := folder(b, exampleDir)
	rekeyed, keys, err := Rekey(texts["keys.yaml"])
	if err != nil {
		b.Fatal(err)
	}
	texts["keys.yaml"] = rekeyed
	s := mustBuild(b, texts)
	u, _ := s.UseCase("kyc-review")
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	text := keys["casemanager"]
	for _, bench := range []struct {
		name string
		f    func()
	}{
		{"Key", func() { s.Key(text, now) }},
		{"UseCase", func() { s.UseCase("kyc-review") }},
		{"Route", func() { s.Route(u, "openai.chat", "gpt-5-mini") }},
		{"Endpoint", func() { s.Endpoint("openai-eu") }},
		{"Canonical", func() { s.Canonical("team", "loans") }},
		{"Parent", func() { s.Parent("team", "advisory", now) }},
		{"Price", func() {
			p, _ := s.Price(PriceKey{"openai", "gpt-5-mini-2025-08-07", "eu", "default", "output", 5000, now})
			sink = p.Rate
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bench.f()
			}
		})
	}
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(s.Archive); err != nil {
				b.Fatal(err)
			}
		}
	})
}
