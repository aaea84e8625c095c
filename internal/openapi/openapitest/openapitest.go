// Package openapitest holds what a service answers to its OpenAPI document: in tests, each answer
// that passes through [Check] has a status, a media type and a body that the document has.
package openapitest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/poclog/poclog/internal/openapi"
)

// A Checker holds answers to one document.
type Checker struct {
	doc    *openapi3.T
	router routers.Router
}

var checkers = struct {
	sync.Mutex
	of map[string]*Checker // by service: a document takes a while to read
}{of: make(map[string]*Checker)}

// New returns the checker of a service's document, which must be valid OpenAPI.
func New(t testing.TB, service string) *Checker {
	t.Helper()
	checkers.Lock()
	defer checkers.Unlock()
	if checkers.of[service] == nil {
		checkers.of[service] = read(t, service)
	}
	return checkers.of[service]
}

func read(t testing.TB, service string) *Checker {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document(service))
	if err == nil {
		err = doc.Validate(context.Background())
	}
	if err != nil {
		t.Fatalf("the document of %s: %v", service, err)
	}
	if item := doc.Paths.Find("/tile/{path}"); item != nil { // tiles have further parts
		doc.Paths.Delete("/tile/{path}")
		doc.Paths.Set("/tile/{path:.+}", item)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatalf("the document of %s: %v", service, err)
	}
	return &Checker{doc, router}
}

// Paths lists methods and paths, such as "GET /checkpoint".
func (c *Checker) Paths() (list []string) {
	for path, item := range c.doc.Paths.Map() {
		for method := range item.Operations() {
			list = append(list, method+" "+strings.Replace(path, "{path:.+}", "", 1))
		}
	}
	return list
}

// Check is why an answer is not the document's, or nil. What the document does not have must be
// refused as not found.
func (c *Checker) Check(req *http.Request, status int, h http.Header, body []byte) error {
	r := req.Clone(context.Background())
	r.URL.Scheme, r.URL.Host, r.Host = "", "", ""
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		if status == http.StatusNotFound || status == http.StatusMethodNotAllowed {
			return nil
		}
		return errors.Join(errors.New("the document does not have it"), err)
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 status, Header: h,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: !strings.Contains(h.Get("Content-Type"), "json")},
	}
	in.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		return err
	}
	return mediaType(route.Operation, status, h)
}

// mediaType holds the type of a body to those of an operation's answer.
func mediaType(op *openapi3.Operation, status int, h http.Header) error {
	answer := op.Responses.Status(status)
	if answer == nil {
		answer = op.Responses.Default()
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if content := answer.Value.Content; len(content) > 0 && content[kind] == nil {
		return errors.New("media type " + kind + " is not one that the document has")
	}
	return nil
}

// Transport is a client's, and holds what it hears to the document.
type Transport struct {
	T       testing.TB
	Checker *Checker
	Base    http.RoundTripper // nil is http.DefaultTransport
}

func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return resp, err
	}
	if err := t.Checker.Check(req, resp.StatusCode, resp.Header, body); err != nil {
		t.T.Errorf("%s %s: %d: %v", req.Method, req.URL.Path, resp.StatusCode, err)
	}
	return resp, nil
}
