package governance

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"os/exec"
	"strings"
	"time"
)

// commitOf is the commit that the folder's git checkout is at, if that commit
// holds exactly these texts, and else the empty string: also when there is no
// git. The contents are compared, not the checkout's state, so that neither an
// ignored file nor a change during the call is taken for committed.
func commitOf(dir string, texts map[string][]byte) string {
	commit := strings.TrimSpace(git(dir, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"))
	if commit == "" {
		return ""
	}
	committed := map[string]string{} // file name to object id
	for _, line := range strings.Split(git(dir, "ls-tree", "-z", commit, "./"), "\x00") {
		meta, name, _ := strings.Cut(line, "\t") // mode SP type SP object
		name = name[strings.LastIndex(name, "/")+1:]
		if fields := strings.Fields(meta); len(fields) == 3 && isGovernance(name) {
			committed[name] = fields[2]
		}
	}
	if len(committed) != len(texts) {
		return ""
	}
	for name, text := range texts {
		var h hash.Hash = sha1.New()
		if len(committed[name]) == 2*sha256.Size {
			h = sha256.New()
		}
		fmt.Fprintf(h, "blob %d\x00", len(text))
		h.Write(text)
		if hex.EncodeToString(h.Sum(nil)) != committed[name] {
			return ""
		}
	}
	return commit
}

func git(dir string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") { // a hook's GIT_DIR would name another repository
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}
