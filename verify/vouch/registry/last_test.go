package registry_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// A log that says that it logged a freeze at the end of all times has a standing that JSON can say.
func TestAFreezeAtTheEndOfAllTimesCanBeWritten(t *testing.T) {
	const origin, subject = "log.test/2026", poclog.Identity("gce:instance:1:2")
	r := endorser.NewRegistrar("last", "alliance", 1)
	pins, err := registry.New([]poclog.Registrar{r.Policy()})
	if err != nil {
		t.Fatal(err)
	}
	last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	freeze := registry.Stated{Logged: last, Envelope: r.State(poclog.Statement{Type: poclog.Freeze, Origin: origin, Subject: subject, Serial: 1}, 1)}
	said := pins.Of([]registry.Stated{freeze}, origin, subject, 1, last.AddDate(-1, 0, 0))
	if len(said) != 1 || said[0].Frozen == nil || !said[0].Frozen.Equal(last) {
		t.Fatalf("%+v", said)
	}
	if _, err := json.Marshal(said); err != nil {
		t.Error(err)
	}
}
