package simulate

import (
	"encoding/json"
	"net/url"
	"strconv"
)

// administer answers the provider's own paths.
func (c *conn) administer() {
	q := &c.call
	status, kind := 200, "application/json"
	body := c.body[:0]
	switch string(q.method) + " " + string(q.path) {
	case "GET /__simulate/stats":
		body = append(appendJSON(body, c.p.Stats()), '\n')
	case "POST /__simulate/reset":
		c.p.Reset()
		body = append(body, "{}\n"...)
	case "GET /__simulate/requests":
		kind = "application/x-ndjson"
		if !c.keeps() {
			status, kind = 404, "text/plain"
			body = append(body, "no requests are kept\n"...)
			break
		}
		query, _ := url.ParseQuery(string(q.query))
		for _, r := range c.p.Requests() {
			if r.fits(query) {
				line, _ := json.Marshal(r)
				body = append(append(body, line...), '\n')
			}
		}
	default:
		status, kind = 404, "text/plain"
		body = append(body, "GET /__simulate/stats, POST /__simulate/reset, GET /__simulate/requests\n"...)
	}
	c.body = body
	out := append(appendStatusLine(c.out[:0], status), "content-type: "...)
	out = append(append(out, kind...), "\r\ncontent-length: "...)
	out = append(strconv.AppendInt(out, int64(len(body)), 10), "\r\n\r\n"...)
	c.out = append(out, body...)
	c.broken = c.flush(true) != nil
}

// fits reports whether r has the values that the query asks for.
func (r *Request) fits(query url.Values) bool {
	for name, value := range map[string]string{
		"id": r.ID, "endpoint": r.Endpoint, "model": r.ModelServed, "status": strconv.Itoa(r.Status), "end": r.End, "format": r.Format.String(),
	} {
		if query.Has(name) && query.Get(name) != value {
			return false
		}
	}
	return true
}
