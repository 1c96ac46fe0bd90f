package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ledgerline/ledgerline/internal/governance"
)

// A record is whole, or what is missing in it is named.
func TestPreflightFaults(t *testing.T) {
	snapshot, err := governance.Load(filepath.Join("..", "..", "deploy", "example", "governance"))
	if err != nil {
		t.Fatal(err)
	}
	u, ok := snapshot.UseCase("card-support")
	if !ok {
		t.Fatal("there is no use case card-support")
	}
	p := &preflight{snapshot: snapshot}
	const whole = `{"id":"i","time":"t","key_id":"k","attribution":{"business_unit":{"value":"b"},"team":{"value":"t"},"project":{"value":"p"},"user":{"value":"u"},
		"application":{"value":"a"},"use_case":{"value":"card-support"}},"decision":{"rule":"r","why":"w","governance":"HERE"},
		"attempts":[{"provider":"p","region":"r","model_served":"m","usage_source":"provider"}],"outcome":{"served":0,"latency_us":5},
		"cost":"0.1","cost_status":"exact","entries":[{"quantity":3}]}`
	for _, c := range []struct{ from, to, fault string }{
		{"", "", ""},
		{`"time":"t"`, `"time":""`, "no time"},
		{`"key_id":"k"`, `"key_id":""`, "no key"},
		{`"value":"card-support"`, `"value":"other"`, "use case other"},
		{`"application":{"value":"a"}`, `"application":{"value":""}`, "no application"},
		{`"team":{"value":"t"}`, `"team":{"value":""}`, "no team"},
		{`"served":0`, `"served":-1`, "no attempt that served"},
		{`"provider":"p"`, `"provider":""`, "no provider"},
		{`"region":"r"`, `"region":""`, "no region"},
		{`"model_served":"m"`, `"model_served":""`, "no model version"},
		{`"usage_source":"provider"`, `"usage_source":"missing"`, "tokens missing"},
		{`"quantity":3`, `"quantity":null`, "no tokens"},
		{`"cost":"0.1","cost_status":"exact"`, `"cost":null,"cost_status":"unpriced"`, "cost unpriced"},
		{`"latency_us":5`, `"latency_us":0`, "no latency"},
		{`"why":"w"`, `"why":""`, "no reason of the route"},
		{"HERE", "elsewhere", "decided by snapshot elsewhere, the folder is " + snapshot.Hex()[:12]},
	} {
		var r record
		text := strings.Replace(whole, c.from, c.to, 1)
		if err := json.Unmarshal([]byte(strings.Replace(text, "HERE", snapshot.Hex(), 1)), &r); err != nil {
			t.Fatal(err)
		}
		want := []string{c.fault}
		if c.fault == "" {
			want = nil
		}
		if got := p.faults(u, &r); !slices.Equal(got, want) {
			t.Errorf("with %s: %q, want %q", c.to, got, want)
		}
	}
}
