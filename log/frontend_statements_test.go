package log_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/internal/peers"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// Of statements with one serial that come to two front ends at once one is admitted, and all others are
// refused for their serial, also while the database ends connections. Serials rise.
func TestFrontEndsGiveEachSerialOfARegistrarOnce(t *testing.T) {
	t.Parallel()
	a := endorser.NewRegistrar("log", "Alliance", 3)
	l := newSharedLog(t, 2, func(p *poclog.Policy) { p.Registrars = append(p.Registrars, a.Policy()) })
	for _, v := range l.fronts {
		v.start()
	}
	stop := make(chan struct{})
	var ending sync.WaitGroup
	ending.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2500 * time.Millisecond):
				l.db.SQL(t, "KILL USER '"+peers.User+"'")
			}
		}
	})
	const serials, racers = 5, 4
	began := time.Now()
	for serial := range uint32(serials) {
		var won atomic.Int32
		var race sync.WaitGroup
		for i := range racers {
			s := endorsing(serial + 1)
			s.Label = fmt.Sprintf("rack %d", i)
			race.Go(func() {
				if registers(t, l, l.fronts[i%2], a.State(s, 2)) {
					won.Add(1)
				}
			})
		}
		race.Wait()
		if won.Load() != 1 {
			t.Errorf("serial %d was given to %d statements: want 1", serial+1, won.Load())
		}
	}
	t.Logf("%d serials in %s, %d statements for each", serials, time.Since(began).Round(time.Millisecond), racers)
	// Statements on other machines are lines of their own.
	var others sync.WaitGroup
	for i := range 6 {
		s := endorsing(1)
		s.Subject = poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%032x", i+1))
		others.Go(func() {
			if !registers(t, l, l.fronts[i%2], a.State(s, 2)) {
				t.Errorf("the first statement on machine %d is refused", i)
			}
		})
	}
	others.Wait()
	close(stop)
	ending.Wait()
	if r := (&testLog{dir: l.fronts[0].dir, policy: l.policy}).fsck(t); r.Statements != serials+6 || r.Wrong != 0 {
		t.Errorf("fsck: %d statements, want %d; %+v", r.Statements, serials+6, r.Findings)
	}
}

// registers sends a statement until it is admitted, or refused for its serial.
func registers(t *testing.T, l *sharedLog, v *front, e *poclog.StatementEnvelope) bool {
	cl, err := client.New(client.Config{URL: "http://" + v.address, Policy: l.policy, Attempts: 1, Timeout: time.Minute})
	if err != nil {
		t.Error(err)
		return false
	}
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		_, err := cl.Register(t.Context(), &poclog.StatementSubmission{Envelope: *e})
		var p *client.Problem
		switch {
		case err == nil:
			return true
		case errors.As(err, &p) && p.Status == http.StatusUnprocessableEntity:
			if verify.Check(p.Check) != registry.CheckSerial {
				t.Errorf("refused by %s: %s", p.Check, p.Detail)
			}
			return false
		case time.Now().After(end):
			t.Errorf("no answer: %v", err)
			return false
		}
	}
}
