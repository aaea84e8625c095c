//go:build js && wasm

// Command wasm gives a page the function poclogRecheck(file, asked, dossiers): octets, what is asked
// as JSON, and a list of octets. It returns a verdict of package recheck as JSON.
package main

import (
	"encoding/json"
	"syscall/js"
	"time"

	"github.com/poclog/poclog/internal/page/recheck"
)

func main() {
	js.Global().Set("poclogRecheck", js.FuncOf(func(_ js.Value, args []js.Value) any {
		q := new(recheck.Asked)
		if err := json.Unmarshal([]byte(args[1].String()), q); err != nil {
			panic(err) // the page wrote it
		}
		for i := range args[2].Length() {
			q.Dossiers = append(q.Dossiers, octets(args[2].Index(i)))
		}
		b, err := json.Marshal(recheck.Check(octets(args[0]), q, time.Now()))
		if err != nil {
			panic(err) // strings alone are in it
		}
		return string(b)
	}))
	select {}
}

func octets(v js.Value) []byte {
	b := make([]byte, v.Length())
	js.CopyBytesToGo(b, v)
	return b
}
