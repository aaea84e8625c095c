package httpd

import (
	"fmt"
	"testing"
	"time"
)

func TestNobodyHoldsMoreThanHeFindsFree(t *testing.T) {
	s := NewShares(100)
	take := func(who string) (n int) {
		for s.Take(who, 1) {
			n++
		}
		return n
	}
	if n := take("flood"); n != 50 {
		t.Errorf("one alone took %d of 100: want half", n)
	}
	if n := take("second"); n != 25 {
		t.Errorf("the second took %d: want half of the rest", n)
	}
	for i := range 5 {
		if n := take(fmt.Sprint("further ", i)); n == 0 {
			t.Errorf("number %d found nothing", i)
		}
	}
	s.Give("flood", 50)
	if n := take("second"); n == 0 {
		t.Error("what was given back is not there")
	}
}

func TestSharesAreGivenBackWhole(t *testing.T) {
	s := NewShares(100)
	if !s.Take("a", 60) || s.Take("a", 10) || !s.Take("b", 40) || s.Take("c", 1) {
		t.Errorf("used %d of 100", s.Used())
	}
	s.Give("a", 60)
	s.Give("b", 40)
	if s.Used() != 0 || len(s.held) != 0 {
		t.Errorf("%d used, %d holders", s.Used(), len(s.held))
	}
	if !s.Take("d", 100) {
		t.Error("the whole is not there")
	}
}

func TestRateRefillsAndFailuresCost(t *testing.T) {
	now := time.Unix(0, 0)
	r := NewRate(2)
	for i := range 10 {
		if !r.Take(now, "a") {
			t.Fatalf("request %d of a burst of 10", i)
		}
	}
	if r.Take(now, "a") || !r.Take(now, "b") {
		t.Error("an eleventh passed, or another address was held to it")
	}
	now = now.Add(time.Second)
	for i := range 3 {
		if got := r.Take(now, "a"); got != (i < 2) {
			t.Errorf("after a second, request %d: %v", i, got)
		}
	}
	r.Charge(now, "a", 1000)
	if now = now.Add(4 * time.Second); r.Take(now, "a") {
		t.Error("debts are forgotten")
	}
	if now = now.Add(2 * time.Second); !r.Take(now, "a") {
		t.Error("a debt of more than a burst")
	}
}

func TestBudgetIsSpentOnAllNamesOrOnNone(t *testing.T) {
	b := NewBudget(4)
	now := time.Unix(0, 0)
	for range 2 {
		if got := b.Spend(now, "x", 1, "a", "b"); got != "" {
			t.Fatalf("%s has none left", got)
		}
	}
	for range 3 {
		if got := b.Spend(now, "x", 1, "c", "b"); got != "b" {
			t.Errorf("%q: want b", got)
		}
	}
	for range 2 {
		if got := b.Spend(now, "x", 1, "c"); got != "" {
			t.Error("c was spent with what b refused")
		}
	}
	if got := b.Spend(now.Add(time.Hour), "x", 1, "a", "b"); got != "" {
		t.Errorf("%s has none left after its time", got)
	}
}

// Who shares a chip and spends all that he can, from fifty addresses and for hours, does not lock
// out its other tenants.
func TestCoTenantsDoNotLockEachOtherOut(t *testing.T) {
	b := NewBudget(600)
	now := time.Unix(0, 0)
	spent := 0
	for second := range 3 * 3600 {
		now = now.Add(time.Second)
		for i := range 50 {
			for b.Spend(now, fmt.Sprint("tenant ", i), 1, "chip") == "" {
				spent++
			}
		}
		if second%600 == 599 && b.Spend(now, "honest", 1, "chip") != "" {
			t.Fatalf("after %d seconds the other tenant found nothing", second)
		}
	}
	if spent > 4*600 {
		t.Errorf("%d entries of one chip in three hours: want at most its budget of 600 an hour, and 600 at once", spent)
	}
}

func TestFloodOfNamesDoesNotGrowWithoutEnd(t *testing.T) {
	r, b := NewRate(1), NewBudget(10)
	now := time.Unix(0, 0)
	for i := range maxLevels + 10 {
		name := fmt.Sprint(i)
		r.Take(now, name)
		b.Spend(now, name, 1, "chip "+name)
		if len(r.m) > maxLevels || len(b.m) > maxLevels {
			t.Fatalf("%d and %d levels", len(r.m), len(b.m))
		}
	}
}
