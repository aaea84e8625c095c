package openapi_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/openapi"
	"github.com/poclog/poclog/internal/openapi/openapitest"
)

// routes of handlers, as their sources have them.
var routes = regexp.MustCompile(`mux\.Handle\("((?:GET|POST) [^"]*)"|^\s+"(/[^"]*)": s\.\w+Page|, "(/[^"]*)": s\.\w+Page`)

// Each document has the paths of its service, and no others.
func TestDocumentsHaveThePathsOfTheirServices(t *testing.T) {
	always := []string{"GET /health", "GET /live", "GET /metrics"}                                               // internal/httpd
	unnamed := map[string][]string{openapi.Log: {"GET /assets/{file}"}, openapi.Monitor: {"GET /assets/{file}"}} // assets have names of their own
	for service, folders := range map[string][]string{
		openapi.Log: {"../../log"}, openapi.Witness: {"../../witness", "../../witness/audit"}, openapi.Monitor: {"../../monitor/web"},
	} {
		want := slices.Concat(always, unnamed[service])
		for _, folder := range folders {
			want = append(want, routesIn(t, folder)...)
		}
		got := openapitest.New(t, service).Paths()
		slices.Sort(got)
		slices.Sort(want)
		if want = slices.Compact(want); !slices.Equal(got, want) {
			t.Errorf("%s: the document has\n%s\nand the service\n%s", service, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func routesIn(t *testing.T, folder string) (list []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			for _, m := range routes.FindAllStringSubmatch(line, -1) {
				route := m[1]
				if route == "" {
					route = "GET " + m[2] + m[3]
				}
				if !strings.HasSuffix(route, " ") { // built from a list, each member of which matches
					list = append(list, strings.Replace(route, "{$}", "", 1))
				}
			}
		}
	}
	return list
}

// What the document does not have is found: another status, another media type, another body.
func TestAnswersAreHeldToTheDocument(t *testing.T) {
	c := openapitest.New(t, openapi.Monitor)
	json, html := http.Header{"Content-Type": {"application/json"}}, http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	for _, a := range []struct {
		path   string
		status int
		header http.Header
		body   string
		ok     bool
	}{
		{"/v1/alerts", 200, json, `{"v":1,"alerts":[],"more":false}`, true},
		{"/v1/alerts", 200, json, `{"v":1,"alerts":[]}`, false},
		{"/v1/alerts", 200, json, `{"v":1,"alerts":[],"more":false,"surplus":1}`, false},
		{"/v1/alerts", 200, html, `<p>`, false},
		{"/chips", 200, html, `<p>`, true},
		{"/nowhere", 200, html, `<p>`, false},
		{"/nowhere", 404, html, `<p>`, true},
	} {
		err := c.Check(httptest.NewRequest(http.MethodGet, "http://monitor.test"+a.path, nil), a.status, a.header, []byte(a.body))
		if (err == nil) != a.ok {
			t.Errorf("%s %d %s: %v", a.path, a.status, a.body, err)
		}
	}
}
