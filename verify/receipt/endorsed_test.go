package receipt_test

import (
	"github.com/poclog/poclog"
)

// endorsedVectors are receipts for which others vouch, and readers who ask who does.
func endorsedVectors(v func(string, *poclog.Receipt, string, wish, string) vector) map[string]vector {
	key, root := poclog.Sum([]byte("alliance")), poclog.Sum([]byte("root"))
	s := newScene(func(e *poclog.Entry) {
		e.Chassis = append([]poclog.Identity{"intel:tdx:piid:0102030405060708090a0b0c0d0e0f10"}, e.Chassis...)
		e.Endorsements = []poclog.Endorsement{
			{Kind: poclog.AllianceToken, By: key, Of: e.Chassis[1], Says: "owner.example", From: at(95)},
			{Kind: poclog.OwnerEndorsement, By: root, Of: e.Chassis[0], Says: "owner.test", From: at(0), Until: at(1000)},
		}
	})
	endorsed := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	plain := newScene(nil)
	alone := plain.receipt(5, plain.log.Checkpoint(5, signedBy(110)...))
	other := poclog.Sum([]byte("another")).String()
	return map[string]vector{
		"owner":             v("the owner that was asked for", endorsed, "2-of-3", wish{Owner: "owner.test"}, "logged"),
		"owner-other":       v("another owner", endorsed, "2-of-3", wish{Owner: "other.test"}, "owner"),
		"owner-by-label":    v("a registry's label is no owner's name", endorsed, "2-of-3", wish{Owner: "owner.example"}, "owner"),
		"owner-none":        v("nobody says whose the platform is", alone, "2-of-3", wish{Owner: "owner.test"}, "owner"),
		"endorsed-by":       v("both that were asked for vouch", endorsed, "2-of-3", wish{EndorsedBy: []string{key.String(), root.String()}}, "logged"),
		"endorsed-by-other": v("one of two does not vouch", endorsed, "2-of-3", wish{EndorsedBy: []string{key.String(), other}}, "endorsed-by"),
		"endorsed-by-none":  v("nobody vouches", alone, "2-of-3", wish{EndorsedBy: []string{key.String()}}, "endorsed-by"),
	}
}
