package main

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	explain := func(args ...string) (int, string, string) {
		return command(t, append([]string{"explain", "--governance", exampleGovernance, "--at", "2026-11-24"}, args...)...)
	}
	kyc := []string{"--use-case", "kyc-review", "--model", "gpt-5-mini"}
	const notAnthropic = "  not anthropic-main: it does not speak openai.chat\n  not anthropic-reserve: it does not speak openai.chat\n"
	const price = "input 0.25 USD, output 2 USD a million tokens\n"
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"all up": {nil, 0, "Use case kyc-review goes to openai-eu first, as rule kyc-primary lists it; openai-us is the fallback.\n" +
			"  1. openai-eu (openai, eu): " + price + "  2. openai-us (openai, us): " + price + notAnthropic},
		"the first down": {[]string{"--down", "openai-eu"}, 0, "While openai-eu is down, use case kyc-review goes to openai-us, the first of rule kyc-primary that takes the call and is not down.\n" +
			"  1. openai-us (openai, us): " + price + "  not openai-eu: it is down\n" + notAnthropic},
		"another down": {[]string{"--down", "vllm-chat"}, 0, "While vllm-chat is down, use case kyc-review goes to openai-eu, the first of rule kyc-primary that takes the call and is not down.\n" +
			"  1. openai-eu (openai, eu): " + price + "  2. openai-us (openai, us): " + price + notAnthropic},
		"both down": {[]string{"--down", "openai-eu", "--down", "openai-us"}, 1, "While openai-eu and openai-us are down, use case kyc-review is refused: rule kyc-primary lists no other endpoint that takes the call.\n" +
			"  not openai-eu: it is down\n  not openai-us: it is down\n" + notAnthropic},
		"the last moment of an agreement": {[]string{"--down", "openai-eu", "--at", "2027-12-31T00:59:59+01:00"}, 0, "While openai-eu is down, use case kyc-review goes to openai-us, the first of rule kyc-primary that takes the call and is not down.\n" +
			"  1. openai-us (openai, us): " + price + "  not openai-eu: it is down\n" +
			"  not anthropic-main: it does not speak openai.chat; not qualified: the data processing agreement with anthropic no longer holds since 2027-06-30\n" +
			"  not anthropic-reserve: it does not speak openai.chat; not qualified: the data processing agreement with anthropic no longer holds since 2027-06-30\n"},
		"after the agreements": {[]string{"--down", "openai-eu", "--at", "2027-12-31"}, 1, "While openai-eu is down, use case kyc-review goes to openai-us, the first of rule kyc-primary that takes the call and is not down.\n" +
			"  1. openai-us (openai, us): " + price + "     not qualified: the data processing agreement with openai no longer holds since 2027-12-31\n" +
			"  not openai-eu: it is down; not qualified: the data processing agreement with openai no longer holds since 2027-12-31\n" +
			"  not anthropic-main: it does not speak openai.chat; not qualified: the data processing agreement with anthropic no longer holds since 2027-06-30\n" +
			"  not anthropic-reserve: it does not speak openai.chat; not qualified: the data processing agreement with anthropic no longer holds since 2027-06-30\n"},
		"before the prices": {[]string{"--at", "2025-12-31T23:59:59Z"}, 0, "Use case kyc-review goes to openai-eu first, as rule kyc-primary lists it; openai-us is the fallback.\n" +
			"  1. openai-eu (openai, eu): no price in the book on 2025-12-31\n  2. openai-us (openai, us): no price in the book on 2025-12-31\n" + notAnthropic},
	} {
		if code, out, errs := explain(append(kyc, tt.args...)...); code != tt.code || out != tt.want || errs != "" {
			t.Errorf("%s: exit code %d, want %d\n%s%swant\n%s", name, code, tt.code, out, errs, tt.want)
		}
	}

	// Nobody serves it, or only others may ask for it.
	if code, out, _ := explain("--use-case", "kyc-review", "--model", "gpt-0"); code != 1 || !strings.Contains(out, "Use case kyc-review is refused: no endpoint serves the model \"gpt-0\"") ||
		!strings.Contains(out, "  not openai-eu: it does not serve gpt-0\n") || !strings.Contains(out, "no endpoint of registry.yaml takes it") {
		t.Errorf("unknown model: %d\n%s", code, out)
	}
	if code, out, _ := explain("--use-case", "kyc-review", "--model", "gpt-oss-120b"); code != 1 || !strings.Contains(out, "Use case kyc-review is refused: no route: rule kyc-primary") || strings.Contains(out, "registry.yaml") {
		t.Errorf("no route: %d\n%s", code, out)
	}
	for _, args := range [][]string{{"--down", "gone"}, {"--at", "soon"}, {"--use-case", "gone"}} {
		if code, _, errs := explain(append(kyc, args...)...); code != 2 {
			t.Errorf("%v: exit code %d\n%s", args, code, errs)
		}
	}
}
