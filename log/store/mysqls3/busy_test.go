package mysqls3

import (
	"context"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/peers"
)

// While submissions have all their connections to the database, it can be asked whether it answers, and
// the others are told that this front end lives.
func TestConformanceOfWatchingABusyDatabase(t *testing.T) {
	s3, db := peers.NewS3(t), peers.NewDatabase(t)
	t.Setenv(EnvPassword, peers.Password)
	db.SQL(t, "CREATE DATABASE busy")
	s3.Bucket(t, "tiles")
	s3.Bucket(t, "guard")
	s, err := Open(t.Context(), &Config{
		Kind:     Kind,
		Database: Database{Address: db.Address, Name: "busy", User: peers.User},
		Tiles:    Bucket{Endpoint: s3.URL, Region: peers.Region, Name: "tiles"},
		Guard:    Bucket{Endpoint: s3.URL, Region: peers.Region, Name: "guard"},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Guard.Create(t.Context(), []byte("text")); err != nil {
		t.Fatal(err)
	}
	work := s.Tiles.(*tiles).db
	for range work.Stats().MaxOpenConnections {
		c, err := work.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := work.PingContext(short); err == nil {
		t.Fatal("there are connections left: nothing is tested")
	}
	if err := s.Join(t.Context(), poclog.Digest{1}); err != nil {
		t.Error(err)
	}
	for range 3 {
		if err := s.Writable(); err != nil {
			t.Error(err)
		}
		time.Sleep(probeInterval)
	}
}
