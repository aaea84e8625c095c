package witness_test

import (
	"bytes"
	"crypto/ed25519"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/poclog/poclog/internal/others"
	"github.com/poclog/poclog/witness"
)

const exampleBody = `old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
`

func TestParseRequestReadsTheExampleOfTheSpecification(t *testing.T) {
	r, err := witness.ParseRequest([]byte(exampleBody))
	if err != nil {
		t.Fatal(err)
	}
	if r.Old != 20852014 || len(r.Proof) != 2 || r.Checkpoint.Origin != "example.com/behind-the-sofa" || r.Checkpoint.N != 20852163 {
		t.Errorf("parsed %+v", r)
	}
	if got := r.Marshal(); string(got) != exampleBody {
		t.Errorf("marshals to %q", got)
	}
}

func TestParseRequestSaysWhatItRefuses(t *testing.T) {
	replace := func(from, to string) string { return strings.Replace(exampleBody, from, to, 1) }
	for _, c := range []struct{ desc, body, expect string }{
		{"nothing", "", "no empty line"},
		{"a leading zero", replace("old 2", "old 02"), "old size"},
		{"2^63", replace("old 20852014", "old 9223372036854775808"), "below 2^63"},
		{"no old", replace("old", "size"), "first line"},
		{"a short hash", replace("PlRN", ""), "proof line 1"},
		{"loose base64", replace("kaw=", "kax="), "proof line 1"},
		{"a carriage return", replace("kaw=\n", "kaw=\r\n"), "proof line 1"},
		{"64 proof lines", replace("old 20852014\n", "old 20852014\n"+strings.Repeat("PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n", 62)), "64 consistency proof lines"},
		{"a leading zero in the checkpoint", replace("\n20852163", "\n020852163"), "checkpoint"},
		{"a loose root", replace("jxq2I=", "jxq2J="), "canonical"},
		{"no origin", replace("example.com/behind-the-sofa\n20852163", "\n20852163"), "checkpoint"},
		{"a long origin", replace("example.com/behind-the-sofa\n", strings.Repeat("x", 256)+"\n"), "256 bytes"},
		{"no signatures", exampleBody[:strings.Index(exampleBody, "\n— ")], "before the signatures"},
		{"too much", exampleBody + strings.Repeat("x", witness.MaxBody), "at most 131072"},
	} {
		_, err := witness.ParseRequest([]byte(c.body))
		if err == nil || !strings.Contains(err.Error(), c.expect) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v: want one line with %q", c.desc, err, c.expect)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(exampleBody))
	f.Add([]byte("old 0\n\nexample.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— x eHh4eA==\n"))
	f.Add([]byte("old 1\n\na\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nextension\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := witness.ParseRequest(body)
		if err != nil {
			return
		}
		if got := r.Marshal(); !bytes.Equal(got, body) {
			t.Errorf("%q marshals to %q", body, got)
		}
		if !strings.HasPrefix(string(r.Note), r.Checkpoint.String()+"\n") {
			t.Errorf("checkpoint %q is not the text of %q", r.Checkpoint, r.Note)
		}
	})
}

func FuzzParseLogList(f *testing.F) {
	f.Add([]byte("# list\nlogs/v0\n\nvkey example.com/log+00000000+AAAA\nqpd 86400\ncontact me\norigin other\n"))
	f.Fuzz(func(t *testing.T, list []byte) {
		logs, err := witness.ParseLogList(list)
		if err != nil {
			return
		}
		for _, l := range logs {
			if l.Origin == "" || l.VKey == "" || strings.Contains(l.Origin+l.VKey, "\n") {
				t.Errorf("an entry %+v", l)
			}
		}
	})
}

func FuzzParseSignerKey(f *testing.F) {
	f.Add("PRIVATE+KEY+witness.example/w1+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if _, key, err := witness.ParseSignerKey(text); err == nil && key == nil {
			t.Error("neither a key nor an error")
		}
	})
}

func TestALogListAddsLogsAndNeverKeys(t *testing.T) {
	known, impostor, fresh, named := ed25519Key(t, "example.com/known"), ed25519Key(t, "example.com/known"), ed25519Key(t, "example.com/new"), mldsaKey(t, "key.example")
	w, _ := open(t, witness.Config{}, known)
	list := "#\n# List: test\n#\nlogs/v0\n\nvkey " + known.vkey + "\nqpd 86400\n\nvkey " + impostor.vkey + "\n" +
		"vkey " + fresh.vkey + "\nunknown thing\ncontact https://example.com/\n\nvkey " + named.vkey + "\norigin example.com/named\n" +
		"vkey example.com/future+00000000+/w==\n"
	res, err := w.AddLogList(t.Context(), []byte(list))
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Added) != 2 || res.Added[0] != "example.com/new" || res.Added[1] != "example.com/named" || res.Known != 1 || len(res.Skipped) != 2 {
		t.Errorf("result %+v", res)
	}
	tr := newTree(t, "log", 3)
	wantStatus(t, w, tr.request(0, 1, impostor), http.StatusForbidden)
	wantStatus(t, w, tr.request(0, 1, known), http.StatusOK)
	wantStatus(t, w, tr.request(0, 1, fresh), http.StatusOK)
	logs, err := w.Logs(t.Context())
	if err != nil || len(logs) != 3 || logs[0].Origin != "example.com/known" || len(logs[0].VKeys) != 1 || !logs[0].Started || logs[1].Started {
		t.Errorf("logs %+v: %v", logs, err)
	}
}

func TestParseLogListRefusesWhatIsNone(t *testing.T) {
	for _, c := range []struct{ desc, list, expect string }{
		{"nothing", "", "no header"},
		{"another header", "logs/v1\n", "line 1"},
		{"an entry before a key", "logs/v0\n\norigin x\n", "line 3"},
		{"a key without a name", "logs/v0\nvkey +00000000+AA\n", "line 2"},
		{"an empty origin", "logs/v0\nvkey a+00000000+AA\norigin\n", "line 3"},
	} {
		if _, err := witness.ParseLogList([]byte(c.list)); err == nil || !strings.Contains(err.Error(), c.expect) {
			t.Errorf("%s: %v: want %q", c.desc, err, c.expect)
		}
	}
}

func TestAddLogRefusesKeysThatCannotBe(t *testing.T) {
	good := ed25519Key(t, "example.com/log")
	w, _ := open(t, witness.Config{})
	cosigner := w.VKeys()[0]
	for desc, vkey := range map[string]string{
		"nothing":                  "",
		"no key":                   "example.com/log",
		"a cosignature key":        cosigner, // type 0x04 is a witness's
		"another hash":             strings.Replace(good.vkey, "+", "+f", 1),
		"a newline":                good.vkey + "\n",
		"an unknown type":          "example.com/log+00000000+/w==",
		"a key that is cut short":  good.vkey[:len(good.vkey)-8],
		"a hash in capitals":       strings.ToUpper(good.vkey),
		"a line break in the name": "a\nb" + good.vkey,
	} {
		if err := w.AddLog(t.Context(), vkey); err == nil {
			t.Errorf("%s: accepted", desc)
		}
	}
	for range 8 {
		if err := w.AddLog(t.Context(), ed25519Key(t, "example.com/many").vkey); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.AddLog(t.Context(), ed25519Key(t, "example.com/many").vkey); err == nil || !strings.Contains(err.Error(), "at most 8") {
		t.Errorf("a ninth key: %v", err)
	}
}

func TestAKeyInAnAgentSigns(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	sshKey, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "witness")
	if err := witness.InitAgent(dir, witnessName, string(ssh.MarshalAuthorizedKey(sshKey))); err != nil {
		t.Fatal(err)
	}
	key, tr := ed25519Key(t, "example.com/log"), newTree(t, "log", 5)

	without := reopen(t, dir, witness.Config{})
	if err := without.AddLog(t.Context(), key.vkey); err != nil {
		t.Fatal(err)
	}
	if _, err := without.AddCheckpoint(t.Context(), []byte(tr.request(0, 1, key))); err == nil || !strings.Contains(err.Error(), "no agent") {
		t.Errorf("without an agent: %v", err)
	}

	var conns []net.Conn
	socket, err := others.ServeAgent(t.Context(), private)
	if err != nil {
		t.Fatal(err)
	}
	w := reopen(t, dir, witness.Config{Agent: func() (net.Conn, error) {
		c, err := net.Dial("unix", socket)
		conns = append(conns, c)
		return c, err
	}})
	lines := wantStatus(t, w, tr.request(0, 1, key), http.StatusOK)
	if got := timestamps(t, w, tr.text(key.Name(), 1), lines); len(got) != 2 {
		t.Errorf("%d cosignatures: want 2", len(got))
	}
	conns[0].Close() // the agent is started again
	wantStatus(t, w, tr.request(1, 2, key), http.StatusOK)
	if len(conns) != 2 {
		t.Errorf("%d connections: want 2", len(conns))
	}

	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := others.ServeAgent(t.Context(), stranger)
	if err != nil {
		t.Fatal(err)
	}
	w = reopen(t, dir, witness.Config{Agent: func() (net.Conn, error) { return net.Dial("unix", wrong) }})
	if _, err := w.AddCheckpoint(t.Context(), []byte(tr.request(2, 3, key))); err == nil {
		t.Error("an agent without the key signed")
	}
}
