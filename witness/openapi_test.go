package witness_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"github.com/poclog/poclog/internal/openapi"
	"github.com/poclog/poclog/internal/openapi/openapitest"
	"github.com/poclog/poclog/witness"
)

// What a witness answers is what its OpenAPI document has.
func TestAnswersAreThoseOfTheDocument(t *testing.T) {
	tr, key := newTree(t, "log", 5), ed25519Key(t, "example.com/log")
	w, _ := open(t, witness.Config{Rate: rate.Inf}, key)
	srv := httptest.NewServer(w.Handler())
	defer srv.Close()
	c := &http.Client{Transport: &openapitest.Transport{T: t, Checker: openapitest.New(t, openapi.Witness)}}
	for _, ask := range []struct {
		path, body string
		status     int
	}{
		{"/add-checkpoint", tr.request(0, 3, key), http.StatusOK},
		{"/add-checkpoint", tr.request(0, 4, key), http.StatusConflict},
		{"/add-checkpoint", "nothing", http.StatusBadRequest},
		{"/keys", "", http.StatusOK},
		{"/health", "", http.StatusOK},
		{"/openapi.json", "", http.StatusOK},
		{"/" + strings.Repeat("0", 64) + "/checkpoint", "", http.StatusNotFound},
		{"/nowhere", "", http.StatusNotFound},
	} {
		method := http.MethodGet
		if ask.body != "" {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+ask.path, strings.NewReader(ask.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != ask.status {
			t.Errorf("%s: %s: want %d", ask.path, resp.Status, ask.status)
		}
	}
}
