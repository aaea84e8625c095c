package collateral

import (
	"fmt"
	"net/url"
	"strings"
)

// A base is the address of a service, below which its objects are. Whether it was given with a
// final slash makes no difference.
type base struct{ u *url.URL }

func parseBase(s string) (base, error) {
	u, err := url.Parse(s)
	if err != nil {
		return base{}, err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return base{}, fmt.Errorf("address %.200q: want http or https, a host, and neither user nor query", u.Redacted())
	}
	return base{u}, nil
}

// is reports whether it is a service's own address.
func (b base) is(address string) bool { return strings.TrimSuffix(b.u.String(), "/") == address }

// below is the base of what lies below.
func (b base) below(path ...string) base { return base{b.u.JoinPath(path...)} }

// at is the address of an object.
func (b base) at(path string, query url.Values) string {
	u := b.u.JoinPath(path)
	u.RawQuery = query.Encode()
	return u.String()
}
