package mysqls3_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/peers"
	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/mysqls3"
	"github.com/poclog/poclog/log/store/storetest"
)

// station is a database and an S3 server with a proxy before it.
type station struct {
	db    *peers.Database
	s3    *peers.S3
	proxy *peers.Proxy

	mu   sync.Mutex
	made int
}

func newStation(t *testing.T) *station {
	s := &station{s3: peers.NewS3(t), db: peers.NewDatabase(t)}
	s.proxy = peers.NewProxy(t, s.s3)
	t.Setenv(mysqls3.EnvPassword, peers.Password)
	return s
}

// config makes a database and two buckets.
func (s *station) config(t *testing.T) *mysqls3.Config {
	t.Helper()
	s.mu.Lock()
	s.made++
	n := s.made
	s.mu.Unlock()
	name := fmt.Sprintf("log%d", n)
	s.db.SQL(t, "CREATE DATABASE "+name)
	s.s3.Bucket(t, name+"-tiles")
	s.s3.Bucket(t, name+"-guard")
	return &mysqls3.Config{
		Kind:     mysqls3.Kind,
		Database: mysqls3.Database{Address: s.db.Address, Name: name, User: peers.User},
		Tiles:    mysqls3.Bucket{Endpoint: s.proxy.URL, Region: peers.Region, Name: name + "-tiles", Prefix: "a/log/"},
		Guard:    mysqls3.Bucket{Endpoint: s.proxy.URL, Region: peers.Region, Name: name + "-guard"},
	}
}

// times returns a fault that meets the first n requests of a method.
func times(n int64, method string, f peers.Fault) func(*http.Request) peers.Fault {
	var met atomic.Int64
	return func(r *http.Request) peers.Fault {
		if r.Method != method || met.Add(1) > n {
			return peers.Pass
		}
		return f
	}
}

func TestConformance(t *testing.T) {
	st := newStation(t)
	storetest.Test(t, func(t *testing.T) storetest.Subject {
		c := st.config(t)
		s := storetest.Subject{
			Open: func(t *testing.T) *store.Store {
				t.Helper()
				got, err := mysqls3.Open(t.Context(), c, "")
				if err != nil {
					t.Fatal(err)
				}
				return got
			},
			Damage: func(t *testing.T, d poclog.Digest, b []byte) {
				st.s3.Damage(t, c.Tiles.Name, c.Tiles.Prefix+"evidence/sha256/"+d.String()[:2]+"/"+d.String(), b)
			},
		}
		for _, f := range []struct {
			name  string
			fault peers.Fault
		}{{"answered with 500", peers.Refuse}, {"cut off", peers.Cut}, {"done, and the answer lost", peers.Lose}} {
			for _, n := range []int64{1, 3, 1000} {
				for _, method := range []string{http.MethodPut, http.MethodGet} {
					s.Faults = append(s.Faults, storetest.Fault{Name: fmt.Sprintf("%d of %s %s", n, method, f.name), Begin: func(*testing.T, *store.Store) func() {
						st.proxy.Set(times(n, method, f.fault))
						return func() { st.proxy.Set(times(0, "", peers.Pass)) }
					}})
				}
			}
		}
		return s
	})
}

// opened is a store of a log, until the test ends.
func opened(t *testing.T, c *mysqls3.Config) *store.Store {
	t.Helper()
	s, err := mysqls3.Open(t.Context(), c, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// The claim of a front end that died ends once all that had a number when it expired is known, and
// not before.
func TestConformanceOfClaimsOfTheDead(t *testing.T) {
	st := newStation(t)
	c := st.config(t)
	dead, alive, key := opened(t, c), opened(t, c), store.Key{1}
	if _, _, err := dead.Known.Claim(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	name := c.Database.Name
	st.db.SQL(t, "CREATE TABLE "+name+".SeqCoord (id INT PRIMARY KEY, next BIGINT); INSERT INTO "+name+".SeqCoord VALUES (0, 7)")
	claim := func(want error) {
		t.Helper()
		if _, _, err := alive.Known.Claim(t.Context(), key); !errors.Is(err, want) {
			t.Errorf("%v: want %v", err, want)
		}
	}
	claim(store.ErrClaimed)
	st.db.SQL(t, "UPDATE "+name+".PoclogClaims SET expires = SYSDATE(6) - INTERVAL 1 SECOND")
	claim(store.ErrClaimed) // entry 6 may be its
	if err := alive.Known.Follow(t.Context(), 0, 6, nil, nil); err != nil {
		t.Fatal(err)
	}
	st.db.SQL(t, "UPDATE "+name+".SeqCoord SET next = 100") // by others, later
	claim(store.ErrClaimed)
	if err := alive.Known.Follow(t.Context(), 6, 7, nil, nil); err != nil {
		t.Fatal(err)
	}
	claim(nil)
}

// A turn is had by one front end at a time. It does not end with a connection, but when it is given
// back, or when its front end counts as dead.
func TestConformanceOfTurns(t *testing.T) {
	st := newStation(t)
	c := st.config(t)
	open := func() *store.Store {
		s := opened(t, c)
		if err := s.Join(t.Context(), poclog.Digest{1}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	name, a, b := c.Database.Name, open(), open()
	st.db.SQL(t, "CREATE TABLE "+name+".SeqCoord (id INT PRIMARY KEY, next BIGINT); INSERT INTO "+name+".SeqCoord VALUES (0, 7)")
	take := func(s *store.Store) (func(), error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		release, next, err := s.Turn(ctx, "statements")
		if err == nil && next != 7 {
			t.Errorf("next is %d: want 7", next)
		}
		return release, err
	}
	release, err := take(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*store.Store{a, b} {
		if _, err := take(s); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("taken twice: %v", err)
		}
	}
	st.db.SQL(t, "KILL USER '"+peers.User+"'")
	if _, err := take(b); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("taken after connections ended: %v", err)
	}
	release()
	if release, err = take(b); err != nil {
		t.Fatalf("after it was given back: %v", err)
	}
	release()
	if _, err = take(a); err != nil {
		t.Fatal(err)
	}
	const heard = "UPDATE %s.PoclogFrontEnds SET seen = SYSDATE(6) - INTERVAL %d SECOND WHERE id = (SELECT owner FROM %[1]s.PoclogTurns)"
	st.db.SQL(t, fmt.Sprintf(heard, name, 55))
	if _, err := take(b); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("taken of a front end that was heard of 55 s ago: %v", err)
	}
	st.db.SQL(t, fmt.Sprintf(heard, name, 60)) // a is dead
	if release, err = take(b); err != nil {
		t.Fatalf("after its front end died: %v", err)
	}
	release()
}

// What cannot hold the store's promises is refused when it is opened, in one line that says what and
// where.
func TestOpenRefuses(t *testing.T) {
	st := newStation(t)
	for _, test := range []struct {
		name string
		set  func(t *testing.T, c *mysqls3.Config)
		want []string
	}{
		{"a wrong password", func(t *testing.T, _ *mysqls3.Config) { t.Setenv(mysqls3.EnvPassword, "wrong") }, []string{"Access denied", mysqls3.EnvPassword}},
		{"a database that is not there", func(_ *testing.T, c *mysqls3.Config) { c.Database.Name = "absent" }, []string{"absent", "create it"}},
		{"a server that is not there", func(_ *testing.T, c *mysqls3.Config) { c.Database.Address = "127.0.0.1:1" }, []string{"127.0.0.1:1", "out of reach"}},
		{"a bucket that is not there", func(_ *testing.T, c *mysqls3.Config) { c.Tiles.Name = "absent" }, []string{"absent", "bucket does not exist"}},
		{"a guard's bucket that is not there", func(_ *testing.T, c *mysqls3.Config) { c.Guard.Name = "absent" }, []string{"absent", "bucket does not exist"}},
		{"wrong S3 credentials", func(t *testing.T, _ *mysqls3.Config) { t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong") }, []string{"access is denied", "AWS_SECRET_ACCESS_KEY"}},
		{"an S3 that ignores conditions", func(t *testing.T, _ *mysqls3.Config) {
			st.proxy.Set(func(*http.Request) peers.Fault { return peers.Ignore })
			t.Cleanup(func() { st.proxy.Set(times(0, "", peers.Pass)) })
		}, []string{"does not refuse If-None-Match"}},
		{"an S3 that ignores If-Match", func(t *testing.T, _ *mysqls3.Config) {
			st.proxy.Set(func(r *http.Request) peers.Fault {
				if r.Header.Get("If-Match") != "" {
					return peers.Ignore
				}
				return peers.Pass
			})
			t.Cleanup(func() { st.proxy.Set(times(0, "", peers.Pass)) })
		}, []string{"does not refuse a wrong If-Match"}},
		{"guard and tiles in one bucket", func(_ *testing.T, c *mysqls3.Config) { c.Guard.Name = c.Tiles.Name }, []string{"needs one of its own"}},
		{"uncommitted reads", func(t *testing.T, _ *mysqls3.Config) {
			st.db.SQL(t, "SET GLOBAL tx_isolation = 'READ-UNCOMMITTED'")
			t.Cleanup(func() { st.db.SQL(t, "SET GLOBAL tx_isolation = 'REPEATABLE-READ'") })
		}, []string{"READ-UNCOMMITTED"}},
		{"a database that forgets", func(t *testing.T, _ *mysqls3.Config) {
			st.db.SQL(t, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
			t.Cleanup(func() { st.db.SQL(t, "SET GLOBAL innodb_flush_log_at_trx_commit = 1") })
		}, []string{"innodb_flush_log_at_trx_commit", "want 1"}},
		{"a database that is read-only", func(t *testing.T, _ *mysqls3.Config) {
			st.db.SQL(t, "SET GLOBAL read_only = 1")
			t.Cleanup(func() { st.db.SQL(t, "SET GLOBAL read_only = 0") })
		}, []string{"read-only"}},
		{"too many connections", func(t *testing.T, _ *mysqls3.Config) {
			st.db.SQL(t, "ALTER USER '"+peers.User+"'@'%' WITH MAX_USER_CONNECTIONS 1")
			first, err := mysqls3.Open(t.Context(), st.config(t), "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = first.Close()
				st.db.SQL(t, "ALTER USER '"+peers.User+"'@'%' WITH MAX_USER_CONNECTIONS 0")
			})
		}, []string{"max_user_connections", "connections"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := st.config(t)
			test.set(t, c)
			got, err := mysqls3.Open(t.Context(), c, "")
			if err == nil {
				t.Fatal("opened", got.Close())
			}
			t.Log(err)
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
			for _, secret := range []string{peers.Password, peers.SecretKey} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("a secret is in %v", err)
				}
			}
		})
	}
	if got, err := mysqls3.Open(t.Context(), st.config(t), ""); err != nil {
		t.Errorf("after all that: %v", err)
	} else if err := got.Close(); err != nil {
		t.Error(err)
	}
}
