package receipt_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
)

// plain are Ed25519 signatures of log and witnesses: short, and the same each time they are made.
func plain(second int) []testlog.Cosigner {
	return []testlog.Cosigner{by(logKey, second), by(w1, second+1), by(w2, second+2)}
}

// bareScene is a scene whose checkpoints have no ML-DSA-44 signatures, but those that a test adds.
func bareScene(challenge []byte, change func(*poclog.Entry)) *scene {
	s := &scene{log: &testlog.Log{Origin: origin, Leaves: [][]byte{{0}, {1}, {2}}}, index: 3, challenge: challenge}
	if challenge == nil {
		s.challenge = s.log.Checkpoint(3, plain(90)...)
	}
	leaf, err := entry(s.challenge, change).Marshal()
	if err != nil {
		panic(err)
	}
	s.leaf = leaf
	s.log.Leaves = append(s.log.Leaves, leaf, []byte("after"), []byte("later"))
	return s
}

// reading is a receipt's file under the policy of two of three witnesses.
func reading(desc string, file []byte, expect string) vector {
	v := vector{Desc: desc, Receipt: string(file), Policy: policies["2-of-3"], Time: at(200), Expect: expect}
	if expect == "logged" || expect == "audited" {
		v.NotBefore, v.NotAfter = ptr(at(91)), ptr(at(112))
	}
	return v
}

// wireVectors are receipts with one fault in their form.
func wireVectors() map[string]vector {
	s := bareScene(nil, nil)
	good := string(marshal(s.receipt(5, s.log.Checkpoint(5, plain(110)...))))
	lines := strings.SplitAfter(good, "\n")
	header, extra, index, hash := lines[0], lines[1], lines[2], lines[3]
	json, err := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.TrimPrefix(extra, "extra ")))
	if err != nil {
		panic(err) // as it was written
	}
	extraOf := func(json string) string {
		return "extra " + base64.StdEncoding.EncodeToString([]byte(json)) + "\n"
	}
	padded := extraOf(string(json) + strings.Repeat(" ", (3-len(json)%3)%3)) // no padding in base64, and a space too many
	if len(json)%3 == 0 {
		padded = extraOf(string(json) + " ")
	}
	body := strings.TrimSuffix(hash, "\n")
	all := map[string]vector{"wire-ed25519": reading("without ML-DSA-44 signatures", []byte(good), "logged")}
	for name, c := range map[string]struct{ desc, old, new, expect string }{
		"empty":                 {"nothing", good, "", "format"},
		"truncated":             {"the first three lines", good[strings.Index(good, hash):], "", "format"},
		"header-version":        {"another version of the proof", header, "c2sp.org/tlog-proof@v2\n", "format"},
		"header-crlf":           {"a carriage return before a line feed", header, "c2sp.org/tlog-proof@v1\r\n", "format"},
		"extra-missing":         {"no extra data: a receipt carries its entry", extra, "", "format"},
		"extra-after-index":     {"extra data after the index", extra + index, index + extra, "format"},
		"extra-base64url":       {"extra data in base64url without padding", extra, "extra " + base64.RawURLEncoding.EncodeToString(json) + "\n", "format"},
		"extra-carriage-return": {"a carriage return in the extra data's base64", extra, strings.TrimSuffix(extra, "\n") + "\r\n", "format"},
		"extra-spaced":          {"extra data that is not canonical", extra, padded, "format"},
		"extra-unknown":         {"an unknown member in the extra data", extra, extraOf(strings.Replace(string(json), `{"v":1`, `{"v":1,"x":1`, 1)), "format"},
		"extra-version":         {"extra data of another version", extra, extraOf(strings.Replace(string(json), `{"v":1`, `{"v":2`, 1)), "format"},
		"extra-no-entry":        {"an entry of no octets", extra, extraOf(`{"v":1,"entry":""}`), "format"},
		"extra-exceptions-none": {"an empty list of exceptions", extra, extraOf(strings.TrimSuffix(string(json), "}") + `,"exceptions":[]}`), "format"},
		"extra-first-null":      {"a first checkpoint that is null", extra, extraOf(strings.TrimSuffix(string(json), "}") + `,"first":null}`), "format"},
		"index-missing":         {"no index", index, "", "format"},
		"index-leading-zero":    {"an index with a leading zero", "index 3\n", "index 03\n", "format"},
		"index-sign":            {"an index with a sign", "index 3\n", "index +3\n", "format"},
		"index-63-bits":         {"an index of 2^63", "index 3\n", "index 9223372036854775808\n", "format"},
		"index-greatest":        {"the greatest index, which is beyond the tree", "index 3\n", "index 9223372036854775807\n", "inclusion"},
		"hash-short":            {"a hash of 31 octets", hash, base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n", "format"},
		"hash-bits":             {"a hash in base64 whose last bits are not zero", hash, body[:42] + string(body[42]+1) + "=\n", "format"},
		"hash-missing":          {"a hash too few", hash, "", "inclusion"},
		"hash-surplus":          {"a hash too many", hash, hash + hash, "inclusion"},
		"hash-64":               {"64 hashes", hash, strings.Repeat(hash, 64-strings.Count(strings.SplitN(good, "\n\n", 2)[0], "\n")+3), "format"},
		"blank-line-missing":    {"no empty line before the checkpoint", "\n\n" + origin, "\n" + origin, "format"},
		"blank-line-twice":      {"two empty lines before the checkpoint", "\n\n" + origin, "\n\n\n" + origin, "checkpoint"},
		"checkpoint-missing":    {"no checkpoint", good[strings.Index(good, origin+"\n"):], "", "format"},
	} {
		if strings.Count(good, c.old) != 1 {
			panic("wire vector " + name + ": what it changes is not there once")
		}
		all["wire-"+name] = reading(c.desc, []byte(strings.Replace(good, c.old, c.new, 1)), c.expect)
	}
	maps.Copy(all, checkpointVectors(s, good))
	maps.Copy(all, timeVectors(s))
	maps.Copy(all, challengeVectors())
	maps.Copy(all, twoLogVectors())
	maps.Copy(all, leafVectors())
	return all
}

// checkpointVectors change the receipt's checkpoint.
func checkpointVectors(s *scene, good string) map[string]vector {
	at := strings.Index(good, "\n\n") + 2
	note := good[at:]
	text, signatures, _ := strings.Cut(note, "\n\n")
	signed := strings.SplitAfter(strings.TrimSuffix(signatures, "\n"), "\n") // the last without line feed
	for i := range signed {
		signed[i] = strings.TrimSuffix(signed[i], "\n") + "\n"
	}
	with := func(text string, lines ...string) []byte {
		return []byte(good[:at] + text + "\n\n" + strings.Join(lines, ""))
	}
	root := strings.Split(text, "\n")[2]
	lineOf := func(s *testlog.Signer, second int) string { return signatureLine(note, by(s, second)) }
	spoilt := func(line string) string { // the last octet of the signature is another
		head, encoded, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(line, "— "), "\n"), " ")
		sig, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			panic(err) // as it was written
		}
		sig[len(sig)-1] ^= 1
		return "— " + head + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
	}
	reversed := slices.Clone(signed)
	slices.Reverse(reversed)
	stranger := testlog.WitnessKey("stranger.test")
	strangers := make([]string, 0, 98)
	for i := range 98 {
		strangers = append(strangers, lineOf(testlog.WitnessKey(fmt.Sprintf("stranger%d.test", i)), 0))
	}
	all := map[string]vector{
		"lines-reversed":            reading("signature lines in another order", with(text, reversed...), "logged"),
		"lines-repeated":            reading("each signature line twice", with(text, append(slices.Clone(signed), signed...)...), "logged"),
		"lines-two-times":           reading("a witness signed twice: its earlier time counts for t2", with(text, append(slices.Clone(signed), lineOf(w2, 500))...), "logged"),
		"lines-two-times-reversed":  reading("the same with the later line first", with(text, append([]string{lineOf(w2, 500)}, signed...)...), "logged"),
		"lines-100":                 reading("as many signature lines as there may be", with(text, append(slices.Clone(signed), strangers[:97]...)...), "logged"),
		"lines-101":                 reading("a signature line too many", with(text, append(slices.Clone(signed), strangers...)...), "checkpoint"),
		"lines-stranger":            reading("a wrong signature by a key that the policy does not name", with(text, append(slices.Clone(signed), spoilt(lineOf(stranger, 0)))...), "logged"),
		"lines-stranger-short":      reading("a line of an unknown key with four octets", with(text, append(slices.Clone(signed), "— stranger.test "+base64.StdEncoding.EncodeToString(make([]byte, 4))+"\n")...), "checkpoint"),
		"lines-wrong-witness":       reading("a wrong signature by a witness that the quorum does not need", with(text, append(slices.Clone(signed), spoilt(lineOf(auditor, 120)))...), "checkpoint"),
		"lines-wrong-beside-right":  reading("a wrong line of a witness beside its right one", with(text, append(slices.Clone(signed), spoilt(lineOf(w1, 300)))...), "checkpoint"),
		"lines-wrong-before-right":  reading("a wrong line of a witness before its right one", with(text, append([]string{spoilt(lineOf(w1, 300))}, signed...)...), "checkpoint"),
		"lines-wrong-log":           reading("a wrong signature by the log", with(text, append([]string{spoilt(signed[0])}, signed[1:]...)...), "checkpoint"),
		"lines-no-log":              reading("no signature by the log", with(text, signed[1:]...), "checkpoint"),
		"lines-none":                reading("no signature", with(text), "checkpoint"),
		"lines-hyphen":              reading("a signature line that begins with a hyphen", with(text, append(slices.Clone(signed[:2]), strings.Replace(signed[2], "—", "-", 1))...), "checkpoint"),
		"text-extension":            reading("a checkpoint with an extension line", resigned(good[:at], text+"\nextension", plain(110)), "checkpoint"),
		"text-two-lines":            reading("a checkpoint without root", resigned(good[:at], origin+"\n5", plain(110)), "checkpoint"),
		"text-size-leading-zero":    reading("a size with a leading zero", resigned(good[:at], origin+"\n05\n"+root, plain(110)), "checkpoint"),
		"text-size-63-bits":         reading("a size of 2^63", resigned(good[:at], origin+"\n9223372036854775808\n"+root, plain(110)), "checkpoint"),
		"text-root-31":              reading("a root of 31 octets", resigned(good[:at], origin+"\n5\n"+base64.StdEncoding.EncodeToString(make([]byte, 31)), plain(110)), "checkpoint"),
		"text-root-base64url":       reading("a root without padding", resigned(good[:at], origin+"\n5\n"+strings.TrimRight(root, "="), plain(110)), "checkpoint"),
		"text-origin-other":         reading("an origin that is not the signing log's name", resigned(good[:at], "other.test\n5\n"+root, plain(110)), "checkpoint"),
		"checkpoint-131072":         reading("a checkpoint as long as it may be", filled(good[:at], note, 1<<17), "logged"),
		"checkpoint-131073":         reading("a checkpoint a byte too long", filled(good[:at], note, 1<<17+1), "format"),
		"audited-signed-twice":      reading("an auditor signed twice", with(text, append(slices.Clone(signed), lineOf(auditor, 120), lineOf(auditor, 130))...), "audited"),
		"audited-by-another-policy": reading("an auditor's signature, for a reader whose policy has no group of auditors", with(text, append(slices.Clone(signed), lineOf(auditor, 120))...), "logged"),
	}
	none := all["audited-by-another-policy"]
	none.Policy = strings.Replace(none.Policy, "group auditors any a\n", "", 1)
	all["audited-by-another-policy"] = none
	return all
}

// signatureLine is a line of another signer under a note's text.
func signatureLine(note string, by testlog.Cosigner) string {
	text, _, _ := strings.Cut(note, "\n\n")
	parts := strings.Split(text, "\n")
	size, err := strconv.ParseUint(parts[1], 10, 63)
	if err != nil {
		panic(err) // a checkpoint of the tests
	}
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		panic(err) // a checkpoint of the tests
	}
	_, line, _ := strings.Cut(string(testlog.SignRoot(parts[0], size, tlog.Hash(raw), by)), "\n\n")
	return line
}

// resigned is a receipt with another text in its checkpoint, which all signed.
func resigned(head, text string, by []testlog.Cosigner) []byte {
	return append([]byte(head), testlog.SignText(text+"\n", by...)...)
}

// filled is a receipt whose checkpoint has so many bytes, with a line of a key that nobody knows.
func filled(head, note string, size int) []byte {
	left := size - len(note) - len("— stranger.test \n")
	encoded := base64.StdEncoding.EncodeToString(make([]byte, left/4*3))
	return []byte(head + note + "— stranger.test" + strings.Repeat("x", left%4) + " " + encoded + "\n")
}

// timeVectors have cosignatures at the ends of time.
func timeVectors(s *scene) map[string]vector {
	of := func(desc, expect string, by ...testlog.Cosigner) vector {
		return reading(desc, marshal(s.receipt(5, s.log.Checkpoint(5, append(plain(110), by...)...))), expect)
	}
	sec := func(n int64) time.Time { return time.Unix(n, 0).UTC() }
	const last = 253402300799 // 9999-12-31T23:59:59Z
	return map[string]vector{
		"time-0":           of("a cosignature of time 0", "checkpoint", testlog.Cosigner{Signer: auditor, At: sec(0)}),
		"time-1":           of("a cosignature of time 1", "audited", testlog.Cosigner{Signer: auditor, At: sec(1)}),
		"time-last":        of("a cosignature of the last second of the year 9999", "audited", testlog.Cosigner{Signer: auditor, At: sec(last)}),
		"time-beyond":      of("a cosignature of the year 10000", "checkpoint", testlog.Cosigner{Signer: auditor, At: sec(last + 1)}),
		"time-63-bits":     of("a cosignature of time 2^63 - 1", "checkpoint", testlog.Cosigner{Signer: auditor, At: sec(1<<63 - 1)}),
		"time-64-bits":     of("a cosignature of time 2^64 - 1", "checkpoint", testlog.Cosigner{Signer: auditor, At: sec(-1)}),
		"time-0-stranger":  of("a cosignature of time 0 by a key that the policy does not name", "logged", testlog.Cosigner{Signer: testlog.WitnessKey("stranger.test"), At: sec(0)}),
		"time-0-mldsa":     of("an ML-DSA-44 cosignature of time 0", "checkpoint", testlog.Cosigner{Signer: w3, At: sec(0)}),
		"time-0-mldsa-log": of("a log's own ML-DSA-44 signature of time 0", "logged", testlog.Cosigner{Signer: pqKey, At: sec(0)}),
	}
}

// challengeVectors have another challenge checkpoint, which the entry names.
func challengeVectors() map[string]vector {
	leaves := &testlog.Log{Origin: origin, Leaves: [][]byte{{0}, {1}, {2}}}
	under := func(challenge []byte) *poclog.Receipt {
		s := bareScene(challenge, nil)
		return s.receipt(5, s.log.Checkpoint(5, plain(110)...))
	}
	// When t1 is unknown, the receipt says nothing of when the evidence was made.
	untimed := func(desc string, challenge []byte) vector {
		v := reading(desc, marshal(under(challenge)), "logged")
		v.NotBefore = nil
		return v
	}
	wrong := func(who testlog.Cosigner) []byte { // a signature over another tree
		_, line, _ := strings.Cut(string(testlog.SignRoot(origin, 3, tlog.Hash{1}, who)), "\n\n")
		return append(leaves.Checkpoint(3, plain(90)...), line...)
	}
	all := map[string]vector{
		"challenge-witness-wrong":  untimed("the challenge has a wrong signature by a witness: t1 is unknown", wrong(by(w1, 91))),
		"challenge-log-wrong":      untimed("the challenge has a wrong signature by the log: t1 is unknown", wrong(by(logKey, 90))),
		"challenge-no-log":         untimed("the log did not sign the challenge: t1 is unknown", leaves.Checkpoint(3, plain(90)[1:]...)),
		"challenge-unsigned":       untimed("a challenge of text alone, which nobody signed: t1 is unknown", leaves.Checkpoint(3)[:len(leaves.Checkpoint(3))-1]),
		"challenge-quorum-short":   untimed("one of three witnesses signed the challenge: t1 is unknown", leaves.Checkpoint(3, plain(90)[:2]...)),
		"challenge-time-0":         untimed("the challenge has a cosignature of time 0: t1 is unknown", leaves.Checkpoint(3, append(plain(90), testlog.Cosigner{Signer: auditor, At: time.Unix(0, 0)})...)),
		"challenge-stranger-wrong": reading("the challenge has a wrong signature by a key that the policy does not name", marshal(under(wrong(by(testlog.WitnessKey("stranger.test"), 91)))), "logged"),
		"challenge-lines-reversed": reading("the challenge's signature lines in another order", marshal(under(leaves.Checkpoint(3, plain(90)[2], plain(90)[1], plain(90)[0]))), "logged"),
		"challenge-of-size-0":      reading("a challenge of the empty tree", marshal(under(leaves.Checkpoint(0, plain(90)...))), "logged"),
		"challenge-two-times":      reading("a witness signed the challenge twice: its later time counts for t1", marshal(under(leaves.Checkpoint(3, append(plain(80), by(w1, 93), by(w2, 92))...))), "logged"),
	}
	twice := all["challenge-two-times"]
	twice.NotBefore = ptr(at(92))
	all["challenge-two-times"] = twice
	backwards := under(leaves.Checkpoint(3, plain(300)...))
	all["challenge-later-than-entry"] = reading("a challenge that was signed long after a checkpoint covered the entry", marshal(backwards), "interval")
	unsaid := leaves.Checkpoint(3) // ends with the empty line
	lost := bareScene(nil, func(e *poclog.Entry) { e.Fresh.Checkpoint = poclog.Sum(unsaid) })
	lost.challenge = unsaid
	all["challenge-no-line"] = reading("a challenge whose empty line no signature line follows", marshal(lost.receipt(5, lost.log.Checkpoint(5, plain(110)...))), "challenge")
	// Moved: the receipt's own checkpoint was signed before the one that is called the first.
	s := bareScene(nil, nil)
	moved := s.receipt(6, s.log.Checkpoint(6, plain(110)...))
	moved.First = ptr(s.log.Inclusion(3, 5, s.log.Checkpoint(5, plain(150)...)))
	all["moved-signed-earlier"] = reading("the receipt's checkpoint was signed before the first one: t2 is the lesser", marshal(moved), "logged")
	unsigned := s.receipt(6, s.log.Checkpoint(6, plain(110)...))
	unsigned.First = ptr(s.log.Inclusion(3, 5, s.log.Checkpoint(5, by(logKey, 0))))
	all["moved-first-uncosigned"] = reading("no witness signed the first checkpoint: t2 is of the receipt's own", marshal(unsigned), "logged")
	return all
}

// twoLogVectors are read under a policy that lists two logs.
func twoLogVectors() map[string]vector {
	otherKey := testlog.LogKey("other.test")
	two := strings.Replace(policies["2-of-3"], "\nwitness", "\nlog "+otherKey.VKey+"\nwitness", 1)
	of := func(desc, origin string, key *testlog.Signer, challenge []byte, policy string) vector {
		s := bareScene(challenge, nil)
		s.log.Origin = origin
		v := reading(desc, marshal(s.receipt(5, s.log.Checkpoint(5, by(key, 110), by(w1, 111), by(w2, 112)))), "logged")
		v.Policy = policy
		return v
	}
	others := (&testlog.Log{Origin: "other.test", Leaves: [][]byte{{9}}}).Checkpoint(1, by(otherKey, 90), by(w1, 91), by(w2, 92))
	unlisted := of("a challenge of a log that the policy does not list: t1 is unknown", origin, logKey, others, policies["2-of-3"])
	unlisted.NotBefore = nil
	crossed := of("a checkpoint of one log with the signature of the other", origin, otherKey, nil, two)
	crossed.Expect, crossed.NotBefore, crossed.NotAfter = "checkpoint", nil, nil
	return map[string]vector{
		"two-logs-one":                of("the first of two logs", origin, logKey, nil, two),
		"two-logs-other":              of("the second of two logs, with a challenge of the first", "other.test", otherKey, nil, two),
		"two-logs-challenge":          of("the first of two logs, with a challenge of the second", origin, logKey, others, two),
		"two-logs-challenge-unlisted": unlisted,
		"two-logs-crossed":            crossed,
	}
}

// leafVectors are receipts of other leaves than valid proofs.
func leafVectors() map[string]vector {
	of := func(desc string, leaf []byte, challenge []byte, expect string) vector {
		l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}, leaf}}
		r := &poclog.Receipt{Entry: leaf, Index: 1, Challenge: challenge, Inclusion: l.Inclusion(1, 2, l.Checkpoint(2, plain(110)...))}
		return reading(desc, marshal(r), expect)
	}
	s := bareScene(nil, nil)
	size, sum := uint64(1), poclog.Sum([]byte("checkpoint"))
	indexed, err := (&poclog.IndexEntry{Algorithm: 1, Size: size, Checkpoint: sum, Root: sum}).Marshal()
	if err != nil {
		panic(err) // an entry of the right form
	}
	lone := &testlog.Log{Origin: origin, Leaves: [][]byte{s.leaf}}
	alone := &poclog.Receipt{Entry: s.leaf, Challenge: s.challenge, Inclusion: lone.Inclusion(0, 1, lone.Checkpoint(1, plain(110)...))}
	return map[string]vector{
		"leaf-alone":            reading("the only entry of a log: a proof without hashes", marshal(alone), "logged"),
		"leaf-index":            of("an index entry is no Proof of Cloud", indexed, nil, "kind"),
		"leaf-index-challenge":  of("an index entry with a challenge", indexed, s.challenge, "challenge"),
		"leaf-config-challenge": of("a configuration with a challenge", configLeaf(), s.challenge, "challenge"),
		"leaf-version":          of("a proof of a later version is unknown", []byte(`{"v":2,"kind":"proof"}`), nil, "kind"),
		"leaf-unknown-octets":   of("octets that are no JSON are an unknown leaf", []byte{0xff}, nil, "kind"),
		"leaf-unknown-fresh":    of("of an unknown leaf no challenge is asked", []byte(`{"v":1,"kind":"observation"}`), s.challenge, "kind"),
		"leaf-malformed":        of("a proof with a space at its end", append(slices.Clone(s.leaf), ' '), s.challenge, "format"),
		"leaf-malformed-config": of("a configuration that ends early", []byte(`{"v":1,"kind":"config"`), nil, "format"),
		"leaf-malformed-index":  of("an index entry of algorithm 0", []byte(strings.Replace(string(indexed), `"algorithm":1`, `"algorithm":0`, 1)), nil, "format"),
		"leaf-spaced-kind":      of("a leaf that does not begin as a proof does is unknown", []byte(`{"v": 1,"kind":"proof"}`), nil, "kind"),
	}
}
