package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/governance"
)

func explainCommand() *cobra.Command {
	var dir, useCase, format, model, moment string
	var down []string
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say where a request would go, and why, in one sentence",
		Long: `Says in one sentence where a request would go, then each endpoint of the rule in the order in which the proxy tries them, with the
price of a million tokens (standard tier, shortest context), and why the others are not tried. --down leaves out endpoints as if they
did not answer. --at asks for another time: the prices and data processing agreements of these files that hold then.

An endpoint is not qualified when its provider is not permitted the use case's data, or has no data processing agreement on file that
holds at the time. The proxy does not look at that when it picks an endpoint; ledgerline check and ledgerline test governance do.

Exit codes: 0 the request goes to a qualified endpoint; 1 it finds none; 2 a mistake in the command line; 3 a mistake in the files.`,
		Example: `  ledgerline explain --governance deploy/example/governance --use-case kyc-review \
      --format openai.chat --model gpt-5-mini --down openai-eu --at 2027-12-31`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := timeOrNow("--at", moment)
			if err != nil {
				return err
			}
			s, err := governance.Load(dir)
			if err != nil {
				return err
			}
			u, ok := s.UseCase(useCase)
			if !ok {
				return usageError{fmt.Errorf("--use-case %s: estate.yaml does not name it", useCase)}
			}
			for _, id := range down {
				if _, ok := s.Endpoint(id); !ok {
					return usageError{fmt.Errorf("--down %s: registry.yaml does not name it", id)}
				}
			}
			route, routeErr := s.Route(u, format, model)
			d := s.Decide(u, governance.Call{Format: format, Model: model}, at, down...)
			out := cmd.OutOrStdout()
			switch {
			case routeErr != nil:
				fmt.Fprintf(out, "Use case %s is refused: %v.\n", u.ID, routeErr)
			case len(down) == 0:
				fmt.Fprintln(out, route.Why)
			default:
				fmt.Fprintln(out, whyDown(u, &d, down))
			}
			explainCandidates(out, s, &d, model, at)
			if errors.Is(routeErr, governance.ErrUnknownModel) {
				fmt.Fprintln(out, "  no endpoint of registry.yaml takes it, whatever the rule")
			}
			if d.Endpoint == nil || d.MustNot != "" {
				return errRed
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files")
	cmd.Flags().StringVar(&useCase, "use-case", "", "use case of the request")
	cmd.Flags().StringVar(&format, "format", "openai.chat", "wire format: openai.chat, openai.responses, openai.embeddings or anthropic.messages")
	cmd.Flags().StringVar(&model, "model", "", "model that the client names")
	cmd.Flags().StringArrayVar(&down, "down", nil, "id of an endpoint that does not answer; may be given again")
	cmd.Flags().StringVar(&moment, "at", "", "when, such as 2026-11-24 or 2026-11-24T12:00:00Z (default: now)")
	for _, name := range []string{"governance", "use-case", "model"} {
		cmd.MarkFlagRequired(name)
	}
	return cmd
}

// whyDown is the sentence of a route while endpoints are down.
func whyDown(u *governance.UseCase, d *governance.Decision, down []string) string {
	are := "is"
	if len(down) > 1 {
		are = "are"
	}
	while := fmt.Sprintf("While %s %s down, use case %s", strings.Join(down, " and "), are, u.ID)
	if d.Endpoint == nil {
		return fmt.Sprintf("%s is refused: rule %s lists no other endpoint that takes the call.", while, d.Rule)
	}
	return fmt.Sprintf("%s goes to %s, the first of rule %s that takes the call and is not down.", while, d.Endpoint.ID, d.Rule)
}

func explainCandidates(out io.Writer, s *governance.Snapshot, d *governance.Decision, model string, at time.Time) {
	place := 0
	for i := range d.Candidates {
		c := &d.Candidates[i]
		if c.Cannot != "" || c.Down {
			continue
		}
		place++
		fmt.Fprintf(out, "  %d. %s (%s, %s): %s\n", place, c.ID, c.Provider, c.Region, priceOf(s, c.Endpoint, model, at))
		if c.MustNot != "" {
			fmt.Fprintf(out, "     not qualified: %s\n", c.MustNot)
		}
	}
	for i := range d.Candidates {
		c := &d.Candidates[i]
		var lost []string
		if c.Cannot != "" {
			lost = append(lost, "it "+c.Cannot)
		}
		if c.Down {
			lost = append(lost, "it is down")
		}
		if len(lost) == 0 {
			continue
		}
		if c.MustNot != "" {
			lost = append(lost, "not qualified: "+c.MustNot)
		}
		fmt.Fprintf(out, "  not %s: %s\n", c.ID, strings.Join(lost, "; "))
	}
}

// priceOf is what the price book has for a model at an endpoint.
func priceOf(s *governance.Snapshot, e *governance.Endpoint, model string, at time.Time) string {
	name, _ := e.Upstream(model)
	var prices []string
	for _, class := range []string{"input", "output"} {
		if p, ok := s.Price(governance.PriceKey{Provider: e.Provider, Model: name, Region: e.Region, Class: class, At: at}); ok {
			prices = append(prices, fmt.Sprintf("%s %s USD", class, p.Rate.PerMillion()))
		}
	}
	if prices == nil {
		return "no price in the book on " + at.Format(time.DateOnly)
	}
	return strings.Join(prices, ", ") + " a million tokens"
}

// timeOrNow is the time that a flag names, a day or to the second, or now.
func timeOrNow(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Now().UTC(), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("%s %s: want a time such as 2026-11-24 or 2026-11-24T12:00:00Z", flag, text)}
}
