package cddl

import "testing"

const rules = `
file  = { v: 1, kind: "a" / "b", ? n: 0..9, id: hex-2, tail, ? u: uint } ; a comment
tail  = ( list: [1*3 word], ? "__x": [ "t", bool / null ] )
word  = tstr .size (1..4)
hex-2 = tstr .regexp "[0-9a-f]{4}"
`

func TestMatch(t *testing.T) {
	s, err := Parse(rules)
	if err != nil {
		t.Fatal(err)
	}
	if s.Rules() != 4 {
		t.Errorf("%d rules", s.Rules())
	}
	for text, want := range map[string]bool{
		`{"v":1,"kind":"a","id":"00ff","list":["x"]}`:                        true,
		`{"v":1,"kind":"b","n":9,"id":"00ff","list":["x","y","zzzz"],"u":7}`: true,
		`{"v":1,"kind":"b","id":"00ff","list":["x"],"__x":["t",null]}`:       true,
		`{"v":2,"kind":"a","id":"00ff","list":["x"]}`:                        false,
		`{"v":1,"kind":"c","id":"00ff","list":["x"]}`:                        false,
		`{"v":1,"kind":"a","n":10,"id":"00ff","list":["x"]}`:                 false,
		`{"v":1,"kind":"a","id":"00FF","list":["x"]}`:                        false,
		`{"v":1,"kind":"a","id":"00ff0","list":["x"]}`:                       false,
		`{"v":1,"kind":"a","id":"00ff","list":[]}`:                           false,
		`{"v":1,"kind":"a","id":"00ff","list":["1","2","3","4"]}`:            false,
		`{"v":1,"kind":"a","id":"00ff","list":["12345"]}`:                    false,
		`{"v":1,"kind":"a","id":"00ff","list":[""]}`:                         false,
		`{"v":1,"kind":"a","id":"00ff","list":"x"}`:                          false,
		`{"v":1,"kind":"a","id":"00ff"}`:                                     false,
		`{"v":1,"kind":"a","id":"00ff","list":["x"],"y":1}`:                  false,
		`{"v":1,"kind":"a","id":"00ff","list":["x"],"__x":["t",1]}`:          false,
		`{"v":1,"kind":"a","id":"00ff","list":["x"],"__x":["t"]}`:            false,
		`{"v":1,"kind":"a","id":"00ff","list":["x"],"u":-1}`:                 false,
		`{"v":1,"kind":"a","id":"00ff","list":["x"],"u":1.0}`:                false,
		`{"v":1,"kind":"a","id":"00ff","list":["x"],"n":"1"}`:                false,
		`{"v":1,"kind":"a","id":"00ff","list":["x"]} {}`:                     false,
		`[]`: false,
		`{`:  false,
	} {
		if err := s.Match("file", []byte(text)); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	if s.Match("other", []byte("1")) == nil {
		t.Error("a rule that is not there matches")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"a", "a =", "a = b", "a = 1\na = 2", "a = {", "a = 1..x", "a = tstr .size 3", "a = tstr .regexp \"(\"", "a = tstr .eq 1", "a = 1 // 2", "a = ~b"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
