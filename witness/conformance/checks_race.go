package conformance

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// checkRaces checks many requests at once. The last check lets one of two histories win.
func (s *suite) checkRaces(ctx context.Context) {
	s.check(ctx, "race.two-sizes", "of two requests at once from one old size, one is cosigned and the other is 409, and the record never goes back", func() error {
		for range 20 {
			if err := s.raceSizes(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	s.check(ctx, "race.one-checkpoint", "the same request many times at once leaves one record, and each is cosigned or 409", func() error {
		return s.raceSame(ctx)
	})
	s.check(ctx, "race.two-histories", "of two histories offered at once, one only is ever cosigned", func() error {
		return s.raceHistories(ctx)
	})
}

// together sends requests at once and returns the answers in the same order.
func (s *suite) together(ctx context.Context, bodies []string) ([]answer, error) {
	answers := make([]answer, len(bodies))
	errs := make([]error, len(bodies))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, b := range bodies {
		wg.Go(func() {
			<-start
			answers[i], errs[i] = s.post(ctx, b)
		})
	}
	close(start)
	wg.Wait()
	return answers, cmp.Or(errs...)
}

func (s *suite) raceSizes(ctx context.Context) error {
	sizes := []int64{s.size + 1, s.size + 5}
	answers, err := s.together(ctx, []string{s.main.request(s, s.size, sizes[0]).body(), s.main.request(s, s.size, sizes[1]).body()})
	if err != nil {
		return err
	}
	from, won := s.size, 0
	for i, a := range answers {
		if err := a.want(http.StatusOK, http.StatusConflict); err != nil {
			return err
		}
		if a.status == http.StatusOK {
			won++
			s.size, s.latest = sizes[i], s.main.checkpoint(s.origin, sizes[i])
		}
	}
	recorded, err := s.recorded(ctx)
	if err != nil {
		return err
	}
	if won != 1 || recorded != s.size {
		err := fmt.Errorf("from %d to %d and %d: %d of 2 cosigned, then %d on record", from, sizes[0], sizes[1], won, recorded)
		s.size = recorded
		return err
	}
	return nil
}

func (s *suite) raceSame(ctx context.Context) error {
	to := s.size + 1
	bodies := make([]string, 16)
	for i := range bodies {
		bodies[i] = s.main.request(s, s.size, to).body()
	}
	answers, err := s.together(ctx, bodies)
	if err != nil {
		return err
	}
	won := 0
	text := s.main.checkpoint(s.origin, to)
	for _, a := range answers {
		if err := a.want(http.StatusOK, http.StatusConflict); err != nil {
			return err
		}
		if a.status != http.StatusOK {
			continue
		}
		won++
		if _, err := s.cosignatures(text, a.body); err != nil {
			return err
		}
	}
	recorded, err := s.recorded(ctx)
	if err != nil {
		return err
	}
	s.size, s.latest = recorded, text
	if won != 1 || recorded != to {
		return fmt.Errorf("%d of %d requests from one old size cosigned, then %d on record: want 1 and %d", won, len(bodies), recorded, to)
	}
	return nil
}

// A cosigned checkpoint as somebody saw it.
type seen struct {
	size int64
	root tlog.Hash
}

// raceHistories has many clients extend two histories, each from what the witness says is on
// record, and looks for a contradiction among all that was cosigned.
func (s *suite) raceHistories(ctx context.Context) error {
	const clients, rounds, span = 8, 12, 200
	fork := newHistory("fork", s.size, s.main)
	s.main.grow(s.size + span)
	fork.grow(s.size + span)
	start, top := s.size, s.size+span

	var mu sync.Mutex // guards the rest
	var cosigned []seen
	var firstErr error
	var wg sync.WaitGroup
	for c := range clients {
		h := s.main
		if c%2 == 1 {
			h = fork
		}
		wg.Go(func() {
			old := start
			for r := range int64(rounds) {
				to := min(old+1+(int64(c)+r)%5, top)
				got, next, err := s.offer(ctx, h, old, to)
				mu.Lock()
				cosigned = append(cosigned, got...)
				if err != nil && firstErr == nil {
					firstErr = err
				}
				mu.Unlock()
				if err != nil || next >= top {
					return
				}
				old = next
			}
		})
	}
	wg.Wait()
	if firstErr != nil {
		return firstErr
	}
	return s.oneHistory(cosigned, s.main, fork)
}

// offer sends one request, and returns what was cosigned and the size from which to go on.
func (s *suite) offer(ctx context.Context, h *history, from, to int64) ([]seen, int64, error) {
	r := h.request(s, from, to)
	a, err := s.add(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	switch a.status {
	case http.StatusOK:
		text, _, _ := strings.Cut(r.checkpoint, "\n\n")
		if _, err := s.cosignatures(text+"\n", a.body); err != nil {
			return nil, 0, err
		}
		return []seen{{to, h.root(to)}}, to, nil
	case http.StatusConflict:
		size, err := a.conflict()
		return nil, size, err
	case http.StatusUnprocessableEntity:
		return nil, from, nil // the other history is on record
	}
	return nil, 0, a.want(http.StatusOK, http.StatusConflict, http.StatusUnprocessableEntity)
}

// oneHistory checks that all that was cosigned lies on one of the histories.
func (s *suite) oneHistory(cosigned []seen, histories ...*history) error {
	if len(cosigned) == 0 {
		return fmt.Errorf("nothing was cosigned")
	}
	var on []string
	for _, h := range histories {
		for _, c := range cosigned {
			if h.root(c.size) == c.root {
				on = append(on, fmt.Sprintf("size %d of %s", c.size, h.name))
				break
			}
		}
	}
	if len(on) > 1 {
		return fmt.Errorf("two cosignatures that contradict: %s", strings.Join(on, " and "))
	}
	return nil
}
