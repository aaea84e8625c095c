package log

import (
	"errors"
	"net/http"
	"time"

	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/verify"
)

// What a log refuses beside what every service does.
var (
	kindMediaType   = httpd.Kind{Name: "media-type", Title: "The submission has another media type", Status: http.StatusUnsupportedMediaType}
	kindRefused     = httpd.Kind{Name: "refused", Title: "The evidence was refused", Status: http.StatusUnprocessableEntity}
	kindUnavailable = httpd.Kind{Name: "unavailable", Title: "The log cannot publish now", Status: http.StatusServiceUnavailable, Retry: 5 * time.Second}
	kindCollateral  = httpd.Kind{Name: "collateral", Title: "The manufacturer's collateral is unavailable", Status: http.StatusServiceUnavailable, Retry: 30 * time.Second}
	kindWithheld    = httpd.Kind{Name: "withheld", Title: "This evidence is withheld by law", Status: http.StatusUnavailableForLegalReasons}
)

// What a refusal costs its address, in submissions, beside the submission itself.
const (
	costMalformed = 1
	costRefused   = 4 // signatures were verified
)

func refuse(k httpd.Kind, format string, args ...any) error { return httpd.Refuse(k, format, args...) }

// refusal describes failed checks.
func refusal(err error) *httpd.Refusal {
	var e *verify.Error
	if !errors.As(err, &e) {
		return nil
	}
	r := &httpd.Refusal{Kind: kindRefused, Err: err, Detail: e.Detail, Check: string(e.Check), Cost: costRefused}
	if e.Check == verify.Format {
		r.Kind, r.Cost = httpd.KindMalformed, costMalformed
	}
	return r
}
