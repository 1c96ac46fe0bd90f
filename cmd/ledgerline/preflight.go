package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/governance"
)

func preflightCommand() *cobra.Command {
	var p preflight
	var dir string
	var headers, only []string
	cmd := &cobra.Command{
		Use:   "preflight",
		Short: "Send one small call per use case through the proxy and read back whether its record is whole",
		Long: `Before traffic is let on: for each use case one call of a few tokens goes through the running proxy to the provider that
the files choose, its record is read back from the store through the API, and every field that an audit needs must be
there: who called, for what, which provider and model answered, tokens, cost, latency, the reason of the route, and the
governance files that decided. The calls are real ones, cost what they cost, and stay in the books.

The virtual keys to call with stand in LEDGERLINE_PREFLIGHT_KEYS, with spaces between them; for each use case the first
one that may be used for it is taken. The API key (scope compliance) stands in LEDGERLINE_API_KEY.

The exit code is 1 when a record is not whole or a use case could not be tried.`,
		Example: `  export LEDGERLINE_PREFLIGHT_KEYS="ll_cardsdesk_… ll_loandesk_…" LEDGERLINE_API_KEY=…
  ledgerline preflight --governance governance --proxy http://127.0.0.1:4000 --api http://127.0.0.1:4001
  ledgerline preflight --governance governance --use-case card-support --header "Ledger-User: preflight" --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if p.snapshot, err = governance.Load(dir); err != nil {
				return err
			}
			p.headers = http.Header{}
			for _, h := range headers {
				name, value, ok := strings.Cut(h, ":")
				if !ok || name == "" {
					return usageError{fmt.Errorf("--header %q: want \"Name: value\"", h)}
				}
				p.headers.Set(name, strings.TrimSpace(value))
			}
			useCases := p.snapshot.UseCases()
			for _, id := range only {
				if _, ok := p.snapshot.UseCase(id); !ok {
					return usageError{fmt.Errorf("--use-case %s: estate.yaml does not name it", id)}
				}
			}
			if len(only) > 0 {
				useCases = slices.DeleteFunc(slices.Clone(useCases), func(u *governance.UseCase) bool { return !slices.Contains(only, u.ID) })
			}
			p.keys, p.apiKey = strings.Fields(os.Getenv("LEDGERLINE_PREFLIGHT_KEYS")), os.Getenv("LEDGERLINE_API_KEY")
			if len(p.keys) == 0 || p.apiKey == "" {
				return usageError{errors.New("LEDGERLINE_PREFLIGHT_KEYS and LEDGERLINE_API_KEY must be set; see --help")}
			}
			return p.run(cmd.Context(), useCases, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files that the proxy runs with")
	cmd.Flags().StringVar(&p.proxy, "proxy", "http://127.0.0.1:4000", "address of the proxy")
	cmd.Flags().StringVar(&p.api, "api", "http://127.0.0.1:4001", "address of the API")
	cmd.Flags().StringArrayVar(&only, "use-case", nil, "only this use case; may be repeated (default: all)")
	cmd.Flags().StringArrayVar(&headers, "header", nil, "header to send with each call, such as \"Ledger-User: preflight\"; may be repeated")
	cmd.Flags().StringVar(&p.model, "model", "", "model to ask for where the files allow any")
	cmd.Flags().DurationVar(&p.wait, "wait", time.Minute, "how long a record may take to be in the store")
	cmd.Flags().BoolVar(&p.dry, "dry-run", false, "say what would be called, and call nothing")
	cmd.MarkFlagRequired("governance")
	return cmd
}

type preflight struct {
	snapshot           *governance.Snapshot
	proxy, api, apiKey string
	keys               []string
	headers            http.Header
	model              string
	wait               time.Duration
	dry                bool
}

// run tries the use cases one after the other and prints a line for each.
func (p *preflight) run(ctx context.Context, useCases []*governance.UseCase, out, progress io.Writer) error {
	var rows [][]string
	failed := 0
	done := countProgress(progress, "use cases", len(useCases))
	for i, u := range useCases {
		row, faults := p.try(ctx, u)
		result := "whole"
		switch {
		case len(faults) > 0:
			failed++
			result = strings.Join(faults, "; ")
		case p.dry:
			result = "not called"
		}
		rows = append(rows, append(row, result))
		done(i + 1)
	}
	printTable(out, []string{"use case", "call", "request", "record"}, rows)
	if failed > 0 {
		return fmt.Errorf("%d of %d use cases have no whole record", failed, len(useCases))
	}
	return nil
}

// try makes one call of a use case and names what is wrong with its record.
func (p *preflight) try(ctx context.Context, u *governance.UseCase) (row, faults []string) {
	row = []string{u.ID, "", ""}
	key := ""
	for _, text := range p.keys {
		if k, err := p.snapshot.Key(text, time.Now()); err == nil && slices.Contains(k.UseCases, u.ID) {
			key = text
			break
		}
	}
	if key == "" {
		return row, []string{"not tried: none of the keys given may be used for it"}
	}
	path, body := "", ""
	for _, call := range u.Calls() {
		model := call.Model
		if model == "*" {
			model = p.model
		}
		if path, body = smallCall(call.Format, model); body != "" {
			row[1] = call.Format + " " + model
			break
		}
	}
	if body == "" {
		return row, []string{"not tried: its endpoints take any model; name one with --model"}
	}
	if p.dry {
		return row, nil
	}
	id, err := p.send(ctx, key, u, path, body)
	if row[2] = id; err != nil {
		return row, []string{err.Error()}
	}
	record, err := p.read(ctx, id)
	if err != nil {
		return row, []string{err.Error()}
	}
	return row, p.faults(u, record)
}

// smallCall is a call of a few tokens in a wire format; empty where there is no model to ask for.
func smallCall(format, model string) (path, body string) {
	name, _ := json.Marshal(model)
	switch {
	case model == "":
		return "", ""
	case format == "openai.chat":
		return "/v1/chat/completions", `{"model":` + string(name) + `,"max_completion_tokens":16,"messages":[{"role":"user","content":"ping"}]}`
	case format == "openai.responses":
		return "/v1/responses", `{"model":` + string(name) + `,"max_output_tokens":16,"input":"ping"}`
	case format == "openai.embeddings":
		return "/v1/embeddings", `{"model":` + string(name) + `,"input":"ping"}`
	case format == "anthropic.messages":
		return "/v1/messages", `{"model":` + string(name) + `,"max_tokens":16,"messages":[{"role":"user","content":"ping"}]}`
	}
	return "", ""
}

// send makes the call and gives the id of its record.
func (p *preflight) send(ctx context.Context, key string, u *governance.UseCase, path, body string) (id string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(p.proxy, "/")+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return "", err
	}
	request.Header = p.headers.Clone()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Ledger-Use-Case", u.ID)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("call the proxy: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read the proxy's answer: %w", err)
	}
	id = response.Header.Get("Ledger-Request-Id")
	switch {
	case response.StatusCode >= 300:
		var refused struct {
			Error struct {
				Code string `json:"code"`
			} `json:"error"`
		}
		json.Unmarshal(text, &refused) // another shape has no code
		return id, fmt.Errorf("answered %d %s", response.StatusCode, refused.Error.Code)
	case id == "":
		return "", errors.New("the answer has no Ledger-Request-Id: --proxy is no proxy of Ledgerline")
	}
	return id, nil
}

// record is what the API tells of a request.
type record struct {
	ID, Time    string
	ModelAsked  string `json:"model_asked"`
	KeyID       string `json:"key_id"`
	Attribution map[string]struct{ Value, Conflict string }
	Decision    struct{ Rule, Why, Governance string }
	Attempts    []struct {
		Provider, Region string
		ModelServed      string `json:"model_served"`
		UsageSource      string `json:"usage_source"`
	}
	Outcome struct {
		Served    int
		LatencyUS int64 `json:"latency_us"`
		Client    string
	}
	Cost       *string
	CostStatus string `json:"cost_status"`
	Entries    []struct {
		Class    string
		Quantity *int64
	}
}

// read waits until the store has the record.
func (p *preflight) read(ctx context.Context, id string) (*record, error) {
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.api, "/")+"/v1/requests/"+id, nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+p.apiKey)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			var r record
			status := response.StatusCode
			if status == http.StatusOK {
				err = json.NewDecoder(response.Body).Decode(&r)
			}
			response.Body.Close()
			switch {
			case status == http.StatusOK && err == nil:
				return &r, nil
			case status == http.StatusUnauthorized || status == http.StatusForbidden:
				return nil, fmt.Errorf("the API answered %d: LEDGERLINE_API_KEY must be a key with the scope compliance", status)
			case status != http.StatusNotFound:
				err = cmp.Or(err, fmt.Errorf("the API answered %d", status))
			}
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("the record is not in the store after %s", p.wait), err)
		case <-time.After(time.Second): // each look is an audited reading
		}
	}
}

// faults names every field of a record that an audit needs and does not find.
func (p *preflight) faults(u *governance.UseCase, r *record) (faults []string) {
	need := func(what string, there bool) {
		if !there {
			faults = append(faults, what)
		}
	}
	need("no time", r.Time != "")
	need("no key", r.KeyID != "")
	need("use case "+cmp.Or(r.Attribution["use_case"].Value, "missing"), r.Attribution["use_case"].Value == u.ID)
	for _, name := range u.Required {
		need("no "+name, r.Attribution[name].Value != "")
	}
	for _, name := range []string{"team", "application"} {
		need("no "+name, r.Attribution[name].Value != "" || slices.Contains(u.Required, name)) // else told already
	}
	if served := r.Outcome.Served; served < 0 || served >= len(r.Attempts) {
		need("no attempt that served", false)
	} else {
		a := r.Attempts[served]
		need("no provider", a.Provider != "")
		need("no region", a.Region != "")
		need("no model version", a.ModelServed != "")
		need("tokens "+a.UsageSource, a.UsageSource == "provider")
	}
	told := false
	for _, e := range r.Entries {
		told = told || e.Quantity != nil && *e.Quantity > 0
	}
	need("no tokens", told)
	need("cost "+r.CostStatus, r.Cost != nil && (r.CostStatus == "exact" || r.CostStatus == "free"))
	need("no latency", r.Outcome.LatencyUS > 0)
	need("no reason of the route", r.Decision.Rule != "" && r.Decision.Why != "")
	if r.Decision.Governance != p.snapshot.Hex() {
		need(fmt.Sprintf("decided by snapshot %.12s, the folder is %.12s", r.Decision.Governance, p.snapshot.Hex()), false)
	}
	return faults
}
