//go:build js && wasm

// Command wasm gives a page the function poclogRecheck(file, policy, realm, level): octets and texts. It
// returns a verdict of package recheck as JSON.
package main

import (
	"encoding/json"
	"syscall/js"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/page/recheck"
)

func main() {
	js.Global().Set("poclogRecheck", js.FuncOf(func(_ js.Value, args []js.Value) any {
		file := make([]byte, args[0].Length())
		js.CopyBytesToGo(file, args[0])
		v := recheck.Check(file, []byte(args[1].String()), poclog.Realm(args[2].String()), args[3].String() == "0", time.Now())
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // strings alone are in it
		}
		return string(b)
	}))
	select {}
}
