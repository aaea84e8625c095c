package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/poclog/poclog/monitor"
)

// Bounds of a webhook.
const (
	webhookTimeout = 20 * time.Second // the specification recommends 15 to 30
	maxDrained     = 1 << 12          // bytes of an answer that are read, so that the connection can be used again
	minSecret      = 24               // bytes
	maxSecret      = 64
	maxSecrets     = 4
)

// A Webhook posts each alert to one address, signed with every secret: while a secret is replaced
// there are two.
type Webhook struct {
	url     string
	secrets [][]byte
	agent   string
	clock   func() time.Time
	http    *http.Client
}

// NewWebhook returns the webhook of an address, which must be https, or http of this machine:
// alerts are signed, not encrypted. Transport makes the requests; nil is as http.DefaultTransport.
func NewWebhook(address string, secrets [][]byte, agent string, clock func() time.Time, transport http.RoundTripper) (*Webhook, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("webhook: the address is no URL") // which may hold a secret: it is not repeated
	}
	local := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"
	if u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && local) {
		return nil, fmt.Errorf("webhook to %q: want https, or http to this machine", u.Hostname())
	}
	if len(secrets) == 0 {
		return nil, errors.New("webhook: want a secret to sign with")
	}
	w := &Webhook{url: address, secrets: secrets, agent: agent, clock: clock}
	w.http = &http.Client{
		Transport: transport, Timeout: webhookTimeout,
		// Whoever the address belongs to says where alerts go, not whoever answers there.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w, nil
}

// ReadSecrets reads the file of a webhook's secrets, one a line, "whsec_" and base64 of 24 to 64
// bytes. The file must be readable by its owner alone.
func ReadSecrets(path string) ([][]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("webhook secret: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("webhook secret %s: mode %#o: want 0600, or others can sign as this monitor", path, info.Mode().Perm())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("webhook secret: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<12))
	if err != nil {
		return nil, fmt.Errorf("webhook secret: %w", err)
	}
	return parseSecrets(path, string(text))
}

func parseSecrets(path, text string) ([][]byte, error) {
	var out [][]byte
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		encoded, ok := strings.CutPrefix(strings.TrimSpace(line), "whsec_")
		b, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(b) < minSecret || len(b) > maxSecret || len(out) == maxSecrets {
			return nil, fmt.Errorf("webhook secret %s, line %d: want whsec_ and base64 of %d to %d bytes, and at most %d lines", path, i+1, minSecret, maxSecret, maxSecrets)
		}
		out = append(out, b)
	}
	return out, nil
}

// WebhookName is the name of every webhook as a sink.
const WebhookName = "webhook"

// Name gives WebhookName: what was told is not told again where the address changes.
func (w *Webhook) Name() string { return WebhookName }

// Silenced reports that nobody is called for what is silenced.
func (w *Webhook) Silenced() bool { return false }

// event is the body: type, time of the event, and the alert.
type event struct {
	Type      string         `json:"type"` // "monitor.contradiction", "monitor.alert" or "monitor.information"
	Timestamp time.Time      `json:"timestamp"`
	Data      *monitor.Alert `json:"data"`
}

// Deliver posts an alert. Only an answer in the 200s takes it.
func (w *Webhook) Deliver(ctx context.Context, a *monitor.Alert) error {
	body, err := json.Marshal(event{"monitor." + string(a.Severity), a.Time, a})
	if err != nil {
		return &RefusedError{Err: fmt.Errorf("encode alert %s: %w", a.ID, err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("webhook: the address is no URL")
	}
	w.sign(req, a.ID, body)
	resp, err := w.http.Do(req)
	if err != nil {
		return withoutAddress(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrained) // what it says is of no use here
	return answered(resp)
}

// sign sets the headers. The time is that of the attempt; the id stays the same however often it is
// tried.
func (w *Webhook) sign(req *http.Request, id string, body []byte) {
	at := strconv.FormatInt(w.clock().Unix(), 10)
	var sigs []string
	for _, secret := range w.secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(id + "." + at + "."))
		mac.Write(body)
		sigs = append(sigs, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", w.agent)
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", at)
	h.Set("Webhook-Signature", strings.Join(sigs, " "))
}

// withoutAddress takes the address out of an error of the HTTP client.
func withoutAddress(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("webhook: %w", err)
}

// answered says what an answer means. What is wrong with one alert must not keep others. An answer
// that may mean all, such as 403 or 500, may also be that of a firewall or a fault that meets this
// alert alone.
func answered(resp *http.Response) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	err := &waitError{fmt.Errorf("webhook answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode)), retryAfter(resp.Header)}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusConflict:
		return &RefusedError{Err: err}
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return err
	}
	return &RefusedError{Err: err, Perhaps: true}
}

// retryAfter reads a Retry-After header (RFC 9110 §10.2.3) in seconds.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 20)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
