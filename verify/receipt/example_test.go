package receipt_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// The middle of it stands in docs/verifying.md, which a test of that folder holds.
func ExampleCheck() {
	file, policyText := exampleReceipt()
	check := func(now time.Time) error {
		policy, err := tlogpolicy.Parse(policyText)
		if err != nil {
			return err
		}
		demands := receipt.Demands{Place: "gce/us-central1-a", MaxAge: 10 * time.Minute}
		verdict, err := receipt.Check(file, policy, now, demands)
		if err != nil {
			return fmt.Errorf("no: %w", err)
		}
		fmt.Println("yes:", verdict.Verdict, "by", verdict.Origin)
		return nil
	}
	if err := check(at(150)); err != nil {
		fmt.Println(err)
	}
	if err := check(at(5000)); err != nil {
		id, _ := verify.CheckOf(err)
		fmt.Println("refused by", id)
	}
	// Output:
	// yes: logged by log.test/2026
	// refused by max-age
}

func exampleReceipt() (file, policy []byte) {
	s := newScene(nil)
	return marshal(s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))), []byte(policies["2-of-3"])
}

// BenchmarkCheck checks a receipt. Its floor is the signatures of two checkpoints: the receipt's,
// and the challenge's. A policy that names no witness asks for the log's alone.
func BenchmarkCheck(b *testing.B) {
	for _, bench := range []struct {
		name             string
		ed25519, mldsa44 int // on each checkpoint
	}{{"none", 1, 0}, {"2-of-3", 3, 2}} {
		b.Run(bench.name, func(b *testing.B) {
			s := newScene(nil)
			file := marshal(s.receipt(5, s.log.Checkpoint(5, signedBy(110)...)))
			p := parsePolicy(b, policies[bench.name])
			each := cputime.All(cputime.Several(b, bench.ed25519, cputime.Ed25519), cputime.Several(b, bench.mldsa44, cputime.MLDSA44))
			cputime.Ratio(b, cputime.All(each, each), func() {
				if _, err := receipt.Check(file, p, at(200), receipt.Demands{}); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}
