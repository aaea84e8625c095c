package main

import (
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/poclog/poclog/internal/peers"
	"github.com/poclog/poclog/log/store/mysqls3"
)

// cmdStore starts a database and an S3 server, writes a file that says where they are, and sets
// TILES to the folder of the bucket that has the tiles: `store mysqls3.json`. They end with all
// scripts.
func cmdStore(t *testing.T) func(ts *testscript.TestScript, neg bool, args []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		s3, db := peers.NewS3(t), peers.NewDatabase(t)
		db.SQL(t, "CREATE DATABASE log")
		bucket := func(name string) mysqls3.Bucket {
			s3.Bucket(t, name)
			return mysqls3.Bucket{Endpoint: s3.URL, Region: peers.Region, Name: name}
		}
		c := &mysqls3.Config{Kind: mysqls3.Kind, Database: mysqls3.Database{Address: db.Address, Name: "log", User: peers.User}, Tiles: bucket("tiles"), Guard: bucket("guard")}
		file, err := c.Marshal()
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), file, 0o644))
		for name, value := range map[string]string{mysqls3.EnvPassword: peers.Password, "AWS_ACCESS_KEY_ID": peers.AccessKey, "AWS_SECRET_ACCESS_KEY": peers.SecretKey, "TILES": s3.Path("tiles")} {
			ts.Setenv(name, value)
		}
	}
}

// cmdBalance starts a balancer before front ends, and sets LOG to its address: `balance $A $B`.
func cmdBalance(t *testing.T) func(ts *testscript.TestScript, neg bool, args []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Setenv("LOG", "http://"+peers.NewBalancer(t, 100*time.Millisecond, args...).Address)
	}
}
