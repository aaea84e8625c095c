package tcglog

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog/verify/tpm"
)

func says(t *testing.T, name string, err error, why string) {
	t.Helper()
	if why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
		t.Errorf("%s: %v: want %q", name, err, why)
	}
}

var le = binary.LittleEndian

// An alg is an algorithm as a header lists it.
type alg struct {
	id   tpm.Alg
	size int
}

// header is the first event of a log. More stands after the vendor info.
func header(index, kind uint32, more []byte, algs ...alg) []byte {
	body := append([]byte(specID), make([]byte, 8)...)
	body = le.AppendUint32(body, uint32(len(algs)))
	for _, a := range algs {
		body = le.AppendUint16(le.AppendUint16(body, uint16(a.id)), uint16(a.size))
	}
	body = append(append(body, 0), more...)
	out := le.AppendUint32(le.AppendUint32(nil, index), kind)
	out = append(out, make([]byte, 20)...)
	return append(le.AppendUint32(out, uint32(len(body))), body...)
}

var sha384Alone = []alg{{tpm.SHA384, 48}}

// event is one of a log of SHA-384 alone; its digest is that of its data.
func event(index, kind uint32, data string) []byte {
	d := sha512.Sum384([]byte(data))
	out := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, index), kind), 1)
	out = append(le.AppendUint16(out, uint16(tpm.SHA384)), d[:]...)
	return append(le.AppendUint32(out, uint32(len(data))), data...)
}

func logOf(events ...[]byte) []byte {
	return slices.Concat(append([][]byte{header(0, evNoAction, nil, sha384Alone...)}, events...)...)
}

const other = 0x80000001 // a type of event that means nothing here

func TestLogsAreParsedStrictly(t *testing.T) {
	locality := func(index, kind uint32, n string) []byte { return event(index, kind, startupLocality+n) }
	sized := func(size int) []byte {
		l := logOf(event(1, other, ""))
		return logOf(event(1, other, strings.Repeat("x", size-len(l))))
	}
	digest := header(0, evNoAction, nil, sha384Alone...)
	digest[8] = 1
	five := []alg{{tpm.SHA1, 20}, {tpm.SHA256, 32}, {tpm.SHA384, 48}, {tpm.SHA512, 64}, {0x12, 64}}
	for name, c := range map[string]struct {
		kind Kind
		log  []byte
		why  string
	}{
		"a log":                            {TPM, logOf(event(1, other, "a")), ""},
		"a CCEL":                           {CCEL, logOf(event(1, other, "a")), ""},
		"a CCEL's header in register 1":    {CCEL, append(header(1, evNoAction, nil, sha384Alone...), event(1, other, "a")...), ""},
		"a TPM's header in register 1":     {TPM, header(1, evNoAction, nil, sha384Alone...), "header of register 1"},
		"a CCEL's header in register 2":    {CCEL, header(2, evNoAction, nil, sha384Alone...), "header of register 2"},
		"another kind":                     {"log", logOf(), `kind "log"`},
		"a header of another type":         {TPM, header(0, other, nil, sha384Alone...), "want EV_NO_ACTION"},
		"a header with a digest":           {TPM, digest, "want zeros"},
		"a header that is cut":             {TPM, header(0, evNoAction, nil, sha384Alone...)[:40], "event of"},
		"a header that is cut at its type": {TPM, header(0, evNoAction, nil, sha384Alone...)[:6], "type of 4 bytes"},
		"something after vendor info":      {TPM, header(0, evNoAction, []byte{1}, sha384Alone...), "bytes after the vendor info"},
		"no algorithms":                    {TPM, header(0, evNoAction, nil), "0 algorithms: want 1 to 5"},
		"five algorithms":                  {TPM, header(0, evNoAction, nil, five...), ""},
		"six algorithms":                   {TPM, header(0, evNoAction, nil, append(five, alg{0x27, 32})...), "6 algorithms: want 1 to 5"},
		"an algorithm twice":               {TPM, header(0, evNoAction, nil, alg{tpm.SHA384, 48}, alg{tpm.SHA384, 48}), "twice"},
		"a digest of another size":         {TPM, header(0, evNoAction, nil, alg{tpm.SHA384, 32}), "with digests of 32 bytes"},
		"an unknown one of no bytes":       {TPM, header(0, evNoAction, nil, alg{0x12, 0}, alg{tpm.SHA384, 48}), "with digests of 0 bytes"},
		"an unknown one of 65 bytes":       {TPM, header(0, evNoAction, nil, alg{0x12, 65}, alg{tpm.SHA384, 48}), "with digests of 65 bytes"},
		"without SHA-384":                  {TPM, header(0, evNoAction, nil, alg{tpm.SHA256, 32}), "no SHA-384 digests"},
		"a CCEL of two algorithms":         {CCEL, header(0, evNoAction, nil, alg{tpm.SHA256, 32}, alg{tpm.SHA384, 48}), "2 algorithms: want SHA-384 alone"},
		"SHA-1 alone, of old":              {TPM, append(header(0, evNoAction, nil)[:32], make([]byte, 30)...), "logs of SHA-1 alone are refused"},

		"PCR 23":                        {TPM, logOf(event(23, other, "a")), ""},
		"PCR 24":                        {TPM, logOf(event(24, other, "a")), "PCR 24"},
		"an unused index, of no action": {TPM, logOf(event(unusedIndex, evNoAction, "a")), ""},
		"an unused index, of an action": {TPM, logOf(event(unusedIndex, other, "a")), "PCR 4294967295"},
		"another index, of no action":   {TPM, logOf(event(24, evNoAction, "a")), "PCR 24"},
		"RTMR3":                         {CCEL, logOf(event(4, other, "a")), ""},
		"register 5":                    {CCEL, logOf(event(5, other, "a")), "measurement register 5"},
		"register 24":                   {CCEL, logOf(event(24, evNoAction, "a")), "measurement register 24"},
		"an unused register":            {CCEL, logOf(event(unusedIndex, evNoAction, "a")), "measurement register"},
		"register 0":                    {CCEL, logOf(event(0, other, "a")), "measurement register 0"},
		"register 0, of no action":      {CCEL, logOf(event(0, evNoAction, "a")), ""},
		"an event that is cut":          {TPM, logOf(event(1, other, "abc"))[:len(logOf(event(1, other, "abc")))-1], "event data of 3 bytes: 2 are left"},
		"an event of no digests":        {TPM, logOf(slices.Concat(event(1, other, "")[:8], make([]byte, 8))), "digest count 0: want 1"},
		"an event cut in its count":     {TPM, logOf(event(1, other, "")[:10]), "digest count of 4 bytes"},
		"an event cut at its algorithm": {TPM, logOf(event(1, other, "")[:13]), "algorithm of 2 bytes"},
		"a digest by another algorithm": {TPM, logOf(slices.Concat(event(1, other, "")[:12], []byte{0xb, 0}, event(1, other, "")[14:])), "of algorithm sha256: want sha384"},
		"a mebibyte":                    {TPM, sized(MaxLog), ""},
		"over a mebibyte":               {TPM, sized(MaxLog + 1), "want at most 1048576"},
		"8,192 events":                  {TPM, logOf(bytes.Repeat(event(1, other, ""), maxEvents)), ""},
		"8,193 events":                  {TPM, logOf(bytes.Repeat(event(1, other, ""), maxEvents+1)), "more than 8192 events"},
		"bytes after the last event":    {TPM, append(logOf(event(1, other, "a")), 0), "1 bytes after the last event"},

		"a locality":                               {TPM, logOf(locality(0, evNoAction, "\x03"), event(0, other, "a")), ""},
		"the greatest locality":                    {TPM, logOf(locality(0, evNoAction, "\x04")), ""},
		"a locality over 4":                        {TPM, logOf(locality(0, evNoAction, "\x05")), "StartupLocality"},
		"a locality without its number":            {TPM, logOf(locality(0, evNoAction, "")), "StartupLocality"},
		"a locality and something":                 {TPM, logOf(locality(0, evNoAction, "\x03x")), "StartupLocality"},
		"two localities":                           {TPM, logOf(locality(0, evNoAction, "\x03"), locality(0, evNoAction, "\x03")), "StartupLocality"},
		"a locality after PCR 0":                   {TPM, logOf(event(0, other, "a"), locality(0, evNoAction, "\x03")), "StartupLocality"},
		"a locality after PCR 1":                   {TPM, logOf(event(1, other, "a"), locality(0, evNoAction, "\x03")), ""},
		"a locality after no action":               {TPM, logOf(event(0, evNoAction, "a"), locality(0, evNoAction, "\x03")), ""},
		"localities of another register":           {TPM, logOf(locality(1, evNoAction, "\x05"), locality(1, evNoAction, "\x05")), ""},
		"localities that are measured":             {TPM, logOf(locality(0, other, "\x05"), locality(0, other, "\x05")), ""},
		"localities of a CCEL, which mean nothing": {CCEL, logOf(locality(0, evNoAction, "\x05"), locality(0, evNoAction, "\x05")), ""},
	} {
		l, err := Parse(c.kind, c.log)
		says(t, name, err, c.why)
		if err == nil && !bytes.Equal(l.Marshal(), c.log) {
			t.Errorf("%s: written as another", name)
		}
	}
}

func TestPaddingIsOneValue(t *testing.T) {
	l := logOf(event(1, other, "a"))
	for name, c := range map[string]struct {
		padding []byte
		ok      bool
	}{
		"none": {nil, true}, "zeros": {make([]byte, 99), true}, "ones": {bytes.Repeat([]byte{0xff}, 99), true}, "a few zeros": {make([]byte, 3), true}, "a few ones": {[]byte{0xff, 0xff}, true},
		"zeros, then ones": {append(make([]byte, 50), bytes.Repeat([]byte{0xff}, 50)...), false}, "ones, then a zero": {append(bytes.Repeat([]byte{0xff}, 50), 0), false},
		"zeros, then something": {append(make([]byte, 50), 1), false}, "something": {[]byte{1, 2, 3}, false},
	} {
		cut, err := Trim(TPM, append(bytes.Clone(l), c.padding...))
		if (err == nil) != c.ok || c.ok && !bytes.Equal(cut, l) {
			t.Errorf("%s: %d bytes, %v", name, len(cut), err)
		}
	}
}

func parsed(t *testing.T, kind Kind, log []byte) *Log {
	t.Helper()
	l, err := Parse(kind, log)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// extended is a register that hears digests, from a start.
func extended(start byte, last byte, data ...string) []byte {
	value := bytes.Repeat([]byte{start}, 48)
	if last != 0 {
		value[47] = last
	}
	for _, x := range data {
		d := sha512.Sum384([]byte(x))
		sum := sha512.Sum384(append(value, d[:]...))
		value = sum[:]
	}
	return value
}

func TestRegistersStartAsTheTPMResetsThem(t *testing.T) {
	locality := event(0, evNoAction, startupLocality+"\x03")
	notes := event(0, evNoAction, strings.Repeat("n", len(startupLocality))+"\x02")
	for name, c := range map[string]struct {
		log  []byte
		pcr  int
		want []byte
	}{
		"PCR 0":                               {logOf(event(0, other, "a")), 0, extended(0, 0, "a")},
		"PCR 0 by a locality":                 {logOf(notes, locality, event(0, other, "a")), 0, extended(0, 3, "a")},
		"PCR 0 by a locality, untouched":      {logOf(notes, locality), 0, extended(0, 3)},
		"PCR 0 by a H-CRTM":                   {logOf(locality, event(0, evHCRTM, "a"), event(0, other, "b")), 0, extended(0, 4, "a", "b")},
		"PCR 0 by a H-CRTM that is not first": {logOf(locality, event(0, other, "b"), event(0, evHCRTM, "a")), 0, extended(0, 3, "b", "a")},
		"PCR 1 by a H-CRTM":                   {logOf(event(1, evHCRTM, "a")), 1, extended(0, 0, "a")},
		"PCR 1 beside a locality":             {logOf(locality, event(1, other, "a")), 1, extended(0, 0, "a")},
		"PCR 16":                              {logOf(event(16, other, "a")), 16, extended(0, 0, "a")},
		"PCR 16, untouched":                   {logOf(), 16, extended(0, 0)},
		"PCR 17":                              {logOf(event(17, other, "a")), 17, extended(0, 0, "a")},
		"PCR 17, untouched":                   {logOf(), 17, extended(0xff, 0)},
		"PCR 22":                              {logOf(event(22, other, "a")), 22, extended(0, 0, "a")},
		"PCR 22, untouched":                   {logOf(), 22, extended(0xff, 0)},
		"PCR 23":                              {logOf(event(23, other, "a")), 23, extended(0, 0, "a")},
		"PCR 23, untouched":                   {logOf(), 23, extended(0, 0)},
	} {
		got, err := parsed(t, TPM, c.log).PCR(tpm.SHA384, c.pcr)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, %v: want %x", name, got, err, c.want)
		}
	}
	ccel := parsed(t, CCEL, logOf(event(0, evNoAction, startupLocality+"\x03"), event(1, evHCRTM, "a"), event(4, other, "b")))
	r, err := ccel.RTMRs()
	if err != nil || !bytes.Equal(r[0][:], extended(0, 0, "a")) || r[1] != [48]byte{} || !bytes.Equal(r[3][:], extended(0, 0, "b")) {
		t.Errorf("%x, %v", r, err)
	}
	if v, err := ccel.PCR(tpm.SHA384, 17); err != nil || !bytes.Equal(v, make([]byte, 48)) {
		t.Errorf("a register of a CCEL: %x, %v", v, err)
	}
	l := parsed(t, TPM, logOf(event(7, other, "a"), event(3, other, "b"), event(7, other, "c"), event(5, evNoAction, "d")))
	if got := l.Measured(); !slices.Equal(got, []int{3, 7}) {
		t.Errorf("measured %v", got)
	}
	if _, err := l.PCR(tpm.SHA256, 7); err == nil || !strings.Contains(err.Error(), "no sha256 digests") {
		t.Errorf("a bank that the log has not: %v", err)
	}
	if _, err := parsed(t, TPM, header(0, evNoAction, nil, alg{0x12, 64}, alg{tpm.SHA384, 48})).PCR(0x12, 7); err == nil {
		t.Error("a bank of an unknown algorithm replays")
	}
}

// quoted are values of one bank.
func quoted(t *testing.T, a tpm.Alg, values map[int][]byte) *tpm.PCRValues {
	t.Helper()
	var pcrs []int
	for n := range values {
		pcrs = append(pcrs, n)
	}
	slices.Sort(pcrs)
	var item []byte
	for _, n := range pcrs {
		item = append(item, values[n]...)
	}
	v, err := tpm.ParsePCRs(&tpm.Quote{Selection: []tpm.PCRSelection{{Alg: a, PCRs: pcrs}}}, item)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOneRegisterIsProvenInSomeBank(t *testing.T) {
	l := parsed(t, TPM, logOf(event(0, other, "a")))
	right := extended(0, 0, "a")
	for name, c := range map[string]struct {
		signed *tpm.PCRValues
		why    string
	}{
		"it is":              {quoted(t, tpm.SHA384, map[int][]byte{0: right}), ""},
		"another value":      {quoted(t, tpm.SHA384, map[int][]byte{0: make([]byte, 48)}), "replays PCR 0 (sha384)"},
		"another register":   {quoted(t, tpm.SHA384, map[int][]byte{1: right}), "covers PCR 0 in no bank"},
		"another bank":       {quoted(t, tpm.SHA256, map[int][]byte{0: make([]byte, 32)}), "covers PCR 0 in no bank"},
		"no register at all": {nil, "covers PCR 0 in no bank"},
	} {
		says(t, name, l.CheckPCR(c.signed, 0), c.why)
	}
	// All that firmware extends has to be covered, in SHA-384; another bank counts as far as it is
	// covered.
	two := header(0, evNoAction, nil, alg{tpm.SHA256, 32}, alg{tpm.SHA384, 48}, alg{0x12, 64})
	e := func(index uint32, data string) []byte {
		d, d384 := sha256.Sum256([]byte(data)), sha512.Sum384([]byte(data))
		out := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, index), other), 3)
		out = append(le.AppendUint16(out, uint16(tpm.SHA256)), d[:]...)
		out = append(le.AppendUint16(out, uint16(tpm.SHA384)), d384[:]...)
		out = append(le.AppendUint16(out, 0x12), make([]byte, 64)...)
		return le.AppendUint32(out, 0)
	}
	l = parsed(t, TPM, slices.Concat(two, e(0, "a"), e(10, "b")))
	all := func(change func(map[int][]byte)) *tpm.PCRValues {
		v := make(map[int][]byte)
		for _, n := range CheckedPCRs {
			v[n] = make([]byte, 48)
		}
		v[0], v[10] = extended(0, 0, "a"), extended(0, 0, "b")
		if change != nil {
			change(v)
		}
		return quoted(t, tpm.SHA384, v)
	}
	for name, c := range map[string]struct {
		signed *tpm.PCRValues
		why    string
	}{
		"all":                                {all(nil), ""},
		"without one that is untouched":      {all(func(v map[int][]byte) { delete(v, 14) }), "does not cover PCR 14 of the SHA-384 bank"},
		"without one that has an event":      {all(func(v map[int][]byte) { delete(v, 10) }), "does not cover PCR 10 of the SHA-384 bank"},
		"one without events has a value":     {all(func(v map[int][]byte) { v[9] = extended(0, 0, "x") }), "replays PCR 9"},
		"one with an event has another":      {all(func(v map[int][]byte) { v[10] = make([]byte, 48) }), "replays PCR 10"},
		"one that nobody asks about differs": {all(func(v map[int][]byte) { v[11] = extended(0, 0, "x") }), ""},
		"SHA-256 alone":                      {quoted(t, tpm.SHA256, map[int][]byte{0: make([]byte, 32)}), "replays PCR 0 (sha256)"},
	} {
		says(t, name, l.CheckPCRs(c.signed), c.why)
	}
}

// story are two logs that tell one, as honest firmware measures it.
type story struct{ tpm, td [][]byte }

func honest() *story {
	sep := "\x00\x00\x00\x00"
	return &story{
		tpm: [][]byte{event(1, other, "a"), event(7, other, "b"), event(1, evSeparator, sep), event(7, evSeparator, sep), event(2, other, "c"), event(2, evSeparator, sep),
			event(3, evSeparator, sep), event(4, evSeparator, sep), event(5, evSeparator, sep), event(6, evSeparator, sep), event(8, other, "d"), event(9, evEventTag, "e"), event(14, other, "f")},
		td: [][]byte{event(1, evHandoffTables2, "h"), event(1, evFirmwareBlob2, "g"), event(1, other, "a"), event(1, other, "b"), event(1, evSeparator, sep), event(2, other, "c"), event(2, evSeparator, sep),
			event(3, other, "d"), event(3, other, "f")},
	}
}

func TestOnlyWhatHonestFirmwareMeasuresIsOnOneSide(t *testing.T) {
	sep := "\x00\x00\x00\x00"
	insert := func(list *[][]byte, at int, e []byte) { *list = slices.Insert(*list, at, e) }
	for name, c := range map[string]struct {
		change func(s *story)
		why    string
	}{
		"honest":               {func(*story) {}, ""},
		"without the tag":      {func(s *story) { s.tpm = slices.Delete(s.tpm, 11, 12) }, ""},
		"two tags":             {func(s *story) { insert(&s.tpm, 11, event(9, evEventTag, "x")) }, "tell two stories"},
		"a tag of another PCR": {func(s *story) { s.tpm[11] = event(8, evEventTag, "e") }, "tell two stories"},
		"what is no action": {func(s *story) {
			insert(&s.tpm, 0, event(1, evNoAction, "x"))
			insert(&s.td, 0, event(1, evNoAction, "y"))
		}, ""},
		"what no register of the TD's has": {func(s *story) { insert(&s.tpm, 0, event(0, other, "x")); insert(&s.tpm, 0, event(16, other, "y")) }, ""},
		"what the guest measures":          {func(s *story) { s.td = append(s.td, event(4, other, "x")) }, ""},
		"PCR 15":                           {func(s *story) { s.tpm = append(s.tpm, event(15, other, "x")) }, "tell two stories"},
		"a separator more in RTMR0":        {func(s *story) { insert(&s.tpm, 4, event(7, evSeparator, sep)) }, "has 2 separators more than the CCEL: want 1"},
		"a separator less in RTMR0":        {func(s *story) { s.tpm = slices.Delete(s.tpm, 3, 4) }, "has 0 separators more than the CCEL: want 1"},
		"a separator of RTMR2":             {func(s *story) { s.tpm = append(s.tpm, event(8, evSeparator, sep)) }, "RTMR2: the TPM's log has 1 separators more"},
		"a separator that says failure":    {func(s *story) { s.tpm[3] = event(7, evSeparator, "\xff\xff\xff\xff") }, "tell two stories"},
		"no tables of the TD's":            {func(s *story) { s.td = s.td[2:] }, "does not begin with the 2 tables"},
		"one table of the TD's":            {func(s *story) { s.td = slices.Delete(s.td, 1, 2) }, "does not begin with the 2 tables"},
		"three tables":                     {func(s *story) { insert(&s.td, 2, event(1, evFirmwareBlob2, "i")) }, "tell two stories"},
		"tables in another order":          {func(s *story) { s.td[0], s.td[1] = s.td[1], s.td[0] }, "tell two stories"},
		"a table after an equal event":     {func(s *story) { s.td[1], s.td[2] = s.td[2], s.td[1] }, "tell two stories"},
		"tables after a separator of the TPM's": {func(s *story) {
			insert(&s.tpm, 0, s.tpm[3])
			s.tpm = slices.Delete(s.tpm, 4, 5)
			insert(&s.td, 0, event(1, evNoAction, "x"))
		}, ""},
		"an event of the TD's alone":  {func(s *story) { insert(&s.td, 3, event(1, other, "x")) }, "tell two stories"},
		"an event of the TPM's alone": {func(s *story) { insert(&s.tpm, 1, event(7, other, "x")) }, "tell two stories"},
		"an event of another type":    {func(s *story) { s.td[2] = event(1, other+1, "a") }, "tell two stories"},
		"nothing in RTMR2":            {func(s *story) { s.tpm, s.td = s.tpm[:10], s.td[:7] }, "RTMR2: the logs have no event in common"},
	} {
		s := honest()
		c.change(s)
		_, err := CrossCheck(parsed(t, TPM, logOf(s.tpm...)), parsed(t, CCEL, logOf(s.td...)))
		says(t, name, err, c.why)
	}
	// A table counts before anything else alone: not once the TPM's log has something more.
	c := comparison{register: 0, m: &RegisterMatch{OnlyTPM: 1}, b: []*Event{{Type: evHandoffTables2}}}
	if c.onlyTD() {
		t.Error("a table after a separator of the TPM's")
	}
	c.m = &RegisterMatch{Equal: 1}
	if c.onlyTD() {
		t.Error("a table after an equal event")
	}
	c.m = new(RegisterMatch)
	if !c.onlyTD() {
		t.Error("the first table")
	}
	for pcr, want := range []int{-1, 0, 1, 1, 1, 1, 1, 0, 2, 2, 2, 2, 2, 2, 2, 2, -1, -1} {
		if r, ok := registerOf(uint32(pcr)); ok != (want >= 0) || ok && r != want {
			t.Errorf("PCR %d: register %d, %t", pcr, r, ok)
		}
	}
}

func TestTechnologyIsRead(t *testing.T) {
	forged := func(data string) []byte {
		b := event(0, evNonhostInfo, data)
		b[20] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		log  []byte
		want byte
		why  string
	}{
		"TDX":                   {logOf(event(0, other, "a"), event(0, evNonhostInfo, gceNonHostInfo+"\x03")), 3, ""},
		"with more after it":    {logOf(event(0, evNonhostInfo, gceNonHostInfo+"\x04more")), 4, ""},
		"without its number":    {logOf(event(0, evNonhostInfo, gceNonHostInfo)), 0, "want \"GCE NonHostInfo\""},
		"of another name":       {logOf(event(0, evNonhostInfo, "GCE NonHostInfx\x00\x03")), 0, "want \"GCE NonHostInfo\""},
		"of another register":   {logOf(event(1, evNonhostInfo, gceNonHostInfo+"\x03")), 0, "PCR 0 has no EV_NONHOST_INFO event"},
		"of another type":       {logOf(event(0, other, gceNonHostInfo+"\x03")), 0, "PCR 0 has no EV_NONHOST_INFO event"},
		"with another's digest": {logOf(forged(gceNonHostInfo + "\x03")), 0, "is not that of its data"},
	} {
		got, err := parsed(t, TPM, c.log).GCETechnology()
		says(t, name, err, c.why)
		if got != c.want {
			t.Errorf("%s: %d", name, got)
		}
	}
	// A digest of an algorithm that nobody here knows proves nothing, and hides nothing.
	d := sha512.Sum384([]byte(gceNonHostInfo + "\x03"))
	l := &Log{Kind: TPM, Algs: []tpm.Alg{0x12, tpm.SHA384}, Events: []Event{{Type: evNonhostInfo, Digests: [][]byte{make([]byte, 64), d[:]}, Data: []byte(gceNonHostInfo + "\x03")}}}
	if got, err := l.GCETechnology(); err != nil || got != 3 {
		t.Errorf("%d, %v", got, err)
	}
}
