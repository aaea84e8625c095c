package weak

import "testing"

func TestGrade(t *testing.T) {
	for n, want := range map[int]string{-1: "none", 0: "small", 49: "small", 50: "large", 100: "large", 200: "none"} {
		if got := Grade(n, false); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestCount(t *testing.T) {
	if Count([]int{1, 2, 1}) != 2 || Count(nil) != 0 {
		t.Error("counted wrong")
	}
}

func TestLarger(t *testing.T) {
	if Larger(1, 2) != 2 || Larger(2, 1) != 2 {
		t.Error("not the larger")
	}
}
