// Package must is for laboratories and tests, whose inputs are their own: an error there is a bug
// of ours, and ends the program. What reads bytes from outside does not use it.
package must

// Do panics if there is an error.
func Do(err error) {
	if err != nil {
		panic(err)
	}
}

// Get is a value, or a panic.
func Get[T any](v T, err error) T {
	Do(err)
	return v
}

// Both is two values, or a panic.
func Both[A, B any](a A, b B, err error) (A, B) {
	Do(err)
	return a, b
}
