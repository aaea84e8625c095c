// Package openapi has the OpenAPI documents of the services: what each answers, for programs that
// are made from such documents. Tests hold the services to them (package openapitest).
package openapi

import (
	"embed"
	"net/http"
)

//go:embed *.json
var documents embed.FS

// The services that have a document.
const (
	Log     = "log"
	Witness = "witness"
	Monitor = "monitor"
)

// Document returns the document of a service, in JSON.
func Document(service string) []byte {
	b, err := documents.ReadFile(service + ".json")
	if err != nil {
		panic(err) // it is embedded
	}
	return b
}

// Serve answers with the document of a service.
func Serve(service string) func(http.ResponseWriter, *http.Request) error {
	b := Document(service)
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = w.Write(b) // the client may be gone
		return nil
	}
}
