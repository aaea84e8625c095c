// Package disclose lists what a submission tells the world once a log has it: what its entry will
// name, and what the files hold that the log keeps beside it. It is made from the parsed bundle,
// collateral and envelope alone; nothing is judged, and nothing of it is authenticated.
//
// It is one list for everybody who asks a publisher for consent. TestEverythingInAnEntryIsDisclosed
// holds it against the entries of the laboratory's profiles.
package disclose

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/vouch/alliance"
	"github.com/poclog/poclog/verify/vouch/poe"
)

// maxValue bounds a fact's text, in bytes: certificates can hold more.
const maxValue = 600

// A Fact is one thing that becomes public. Its texts are the evidence's own words: control
// characters are for the writer to escape.
type Fact struct {
	Name  string
	Value string
	// Varies says that the value differs from one bundle of a machine to the next, as a challenge's
	// does: whoever agreed to the fact once agreed to it.
	Varies bool
}

func (f Fact) String() string { return f.Name + ": " + f.Value }

// facts are a list in the making.
type facts []Fact

func (l *facts) add(name, format string, args ...any) {
	l.put(Fact{Name: name, Value: fmt.Sprintf(format, args...)})
}

// vary adds a fact whose value varies.
func (l *facts) vary(name, format string, args ...any) {
	l.put(Fact{Name: name, Value: fmt.Sprintf(format, args...), Varies: true})
}

// put adds a fact that is not there yet.
func (l *facts) put(f Fact) {
	if len(f.Value) > maxValue {
		f.Value = fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(f.Value[:maxValue], ""), len(f.Value))
	}
	if !slices.Contains(*l, f) {
		*l = append(*l, f)
	}
}

// Of lists what becomes public when a submission is logged, and that these keys signed it.
func Of(s *poclog.Submission, keys ...poclog.Digest) ([]Fact, error) {
	b, err := poclog.ParseBundle(s.Bundle)
	if err != nil {
		return nil, err
	}
	var l facts
	l.bundle(b)
	if err := l.collateral(s.Collateral); err != nil {
		return nil, err
	}
	if !s.Judged.IsZero() {
		l.add("judged at", "%s", s.Judged.UTC().Format(time.RFC3339))
	}
	if len(s.Envelope) > 0 {
		v, err := poclog.ParseEnvelope(s.Envelope)
		if err != nil {
			return nil, err
		}
		for _, sig := range v.Signatures {
			l.add("signed by key", "%q", sig.KeyID)
		}
	}
	for _, k := range keys {
		l.add("signed by key", "%s", k)
	}
	return l, nil
}

// Digest names a list up to the values that vary. Two lists with one digest ask for one consent.
func Digest(list []Fact) poclog.Digest {
	var b bytes.Buffer
	b.WriteString("poclog/disclosed/v1\n")
	for _, f := range list {
		if f.Varies {
			f.Value = ""
		}
		fmt.Fprintf(&b, "%q %q\n", f.Name, f.Value)
	}
	return poclog.Sum(b.Bytes())
}

// collateral lists what stands in a collateral file: of what manufacturers publish the names, of
// what others say of this machine the words.
func (l *facts) collateral(file []byte) error {
	if len(file) == 0 {
		return nil
	}
	c, err := poclog.ParseCollateral(file)
	if err != nil {
		return err
	}
	for _, it := range c.Items {
		switch it.Kind {
		case poclog.AllianceToken:
			l.token(it.Body)
		case poclog.OwnerEndorsement:
			l.owner(it.Body)
		case poclog.ChipRegistry:
			l.add("a registry's answer", "%s: status %d: %q", it.URL, it.Status, it.Body)
		default:
			l.add("collateral", "%s", strings.TrimSpace(string(it.Kind)+" "+it.URL))
		}
	}
	return nil
}

func (l *facts) token(body []byte) {
	t, err := alliance.Parse(body)
	if err != nil {
		l.unread("a registry's token", body, err)
		return
	}
	l.add("a registry's label of the machine", "%q", t.Label)
	l.add("a registry's name of the machine", "%s", t.Machine)
	if t.KeyID != "" {
		l.add("a registry's key", "%s", t.KeyID)
	}
}

func (l *facts) owner(body []byte) {
	e, err := poe.Parse(body)
	if err != nil {
		l.unread("an owner's endorsement", body, err)
		return
	}
	l.add("the platform's owner", "%q, of platform instance %x", e.Owner, e.PIID)
}

// unread says that bytes become public which cannot be read here.
func (l *facts) unread(name string, b []byte, err error) {
	l.vary(name, "%d bytes that cannot be read here: %v", len(b), err)
}
