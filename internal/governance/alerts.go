package governance

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// alertsFile is alerts.yaml: where alerts go.
type alertsFile struct {
	Channels []channelEntry `yaml:"channels,required"`
	// The channel that findings (anomalies, drift) go to. Left out: none.
	Findings at[id] `yaml:"findings"`
	// The address under which people reach the API and its pages, such as
	// https://ledgerline.example.com; messages link to it. Without it they
	// name the command instead.
	PublicURL at[text] `yaml:"public_url"`
}

// channelEntry is one place that alerts go to.
type channelEntry struct {
	ID at[id] `yaml:"id,required"`
	// slack: a Slack incoming webhook. webhook: any address that takes a POST
	// of JSON. log: the log of the process.
	Kind text `yaml:"kind,required" oneof:"slack|webhook|log"`
	// Where the address is found. It is a secret (who has it can post), so it
	// is never in these files.
	URL *struct {
		pos
		Env  text `yaml:"env"`  // name of an environment variable; this or file
		File text `yaml:"file"` // path of a file that holds nothing else; this or env
	} `yaml:"url"`
}

// Channel is one place that alerts go to.
type Channel struct {
	ID, Kind  string // Kind: "slack", "webhook" or "log"
	Env, File string // where the address is found; both empty for a log
}

// Channel is the channel with the id.
func (s *Snapshot) Channel(id string) (*Channel, bool) {
	c, ok := s.channels[id]
	return c, ok
}

// Channels is all channels in the order of the file.
func (s *Snapshot) Channels() []*Channel { return s.channelList }

// FindingsChannel is the channel that findings go to; empty: none.
func (s *Snapshot) FindingsChannel() string { return s.findings }

// PublicURL is the address that messages link to, without a trailing slash;
// empty when there is none.
func (s *Snapshot) PublicURL() string { return s.publicURL }

// maxAddress is the most bytes of an address's file that are looked at.
const maxAddress = 8 << 10

// Address reads the address of a slack or webhook channel anew, so that one
// that was changed needs no restart. Errors never hold any of it.
func (c *Channel) Address() (*url.URL, error) {
	text := os.Getenv(c.Env)
	if c.File != "" {
		raw, err := os.ReadFile(c.File)
		if err != nil {
			return nil, fmt.Errorf("read the address of channel %s: %w", c.ID, err)
		}
		text = string(raw[:min(len(raw), maxAddress)])
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, fmt.Errorf("the address of channel %s is not set: %s%s is empty", c.ID, c.Env, c.File)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%s%s does not hold an address such as https://…", c.Env, c.File)
	}
	return u, nil
}

func (s *Snapshot) setAlerts(c *checker, f *alertsFile) {
	s.channels = make(map[string]*Channel, len(f.Channels))
	for i := range f.Channels {
		e := &f.Channels[i]
		ch := &Channel{ID: string(e.ID.V), Kind: string(e.Kind)}
		switch {
		case e.URL != nil && e.Kind == "log":
			c.fail(alertsYAML, e.URL.Mark, "channel %s: a log has no url", ch.ID)
		case e.URL == nil && (e.Kind == "slack" || e.Kind == "webhook"):
			c.fail(alertsYAML, e.ID.Mark, "channel %s: url is missing", ch.ID)
		case e.URL != nil:
			ch.Env, ch.File = string(e.URL.Env), string(e.URL.File)
			if (ch.Env == "") == (ch.File == "") {
				c.fail(alertsYAML, e.URL.Mark, "channel %s: url: want env or file, one of them", ch.ID)
			}
			if strings.Contains(ch.Env+ch.File, "://") {
				c.fail(alertsYAML, e.URL.Mark, "channel %s: url: the address itself must not be in this file; name a variable or a file that holds it", ch.ID)
			}
		}
		switch {
		case ch.ID == "":
		case s.channels[ch.ID] != nil:
			c.fail(alertsYAML, e.ID.Mark, "channel %s is listed twice", ch.ID)
		default:
			s.channels[ch.ID] = ch
			s.channelList = append(s.channelList, ch)
		}
	}
	if s.findings = string(f.Findings.V); s.findings != "" && s.channels[s.findings] == nil && !c.faulty[alertsYAML] {
		c.fail(alertsYAML, f.Findings.Mark, "findings: channel %q is not in the list above%s", s.findings, near(c, s.findings, s.channels))
	}
	if text := string(f.PublicURL.V); text != "" {
		if err := checkPublicURL(text); err != nil {
			c.fail(alertsYAML, f.PublicURL.Mark, "public_url: %v", err)
		}
		s.publicURL = strings.TrimSuffix(text, "/")
	}
}

func checkPublicURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || !slices.Contains([]string{"http", "https"}, u.Scheme):
		return fmt.Errorf("%q is not an address such as https://ledgerline.example.com", clip(text))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("no credentials, query or fragment")
	}
	return nil
}
