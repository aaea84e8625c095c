// Package weak has conditions that its tests hold, and some that they do not: for the test of
// mutate.
package weak

// Grade tells small from large.
func Grade(n int, extra bool) string {
	if n < 0 || n > 100 {
		return "none"
	}
	switch {
	case n >= 50 && !extra:
		return "large"
	}
	return "small"
}

// Count has a loop whose boundary no test can see.
func Count(list []int) (n int) {
	for i := 0; i < len(list); i++ {
		has := func(x int) bool { return x == 1 }
		if has(list[i]) {
			n++
		}
	}
	return max(n, 0)
}

// Larger is the same whether equals count or not.
func Larger(a, b int) int {
	if a > b {
		return a
	}
	return b
}

// Unused is called by no test.
func Unused(ok bool) bool {
	if ok {
		return false
	}
	return true
}
