package canon

// List is a list of at most max elements. It may be empty.
func List[T any](c *Codec, what string, list *[]T, max int, element func(*T)) {
	c.Lit("[")
	if c.writing {
		c.Check(len(*list) <= max, "%s: more than %d", what, max)
		for i := range *list {
			if i > 0 {
				c.Lit(",")
			}
			element(&(*list)[i])
		}
		c.Lit("]")
		return
	}
	for c.err == nil && !c.try("]") {
		if len(*list) == max {
			c.Failf("%s: more than %d", what, max)
			return
		}
		if len(*list) > 0 {
			c.Lit(",")
		}
		*list = append(*list, *new(T))
		element(&(*list)[len(*list)-1])
	}
}

// OptionalList is a member that is a list of 1 to max elements, and is left out if there is none.
func OptionalList[T any](c *Codec, name string, list *[]T, max int, element func(*T)) {
	if c.Optional(name, len(*list) > 0) {
		List(c, name, list, max, element)
		if len(*list) == 0 {
			c.Failf("%s: an empty list is left out", name)
		}
	}
}

// Strings is an [OptionalList] of strings of 1 to maxLen bytes.
func Strings[S ~string](c *Codec, name string, list *[]S, maxLen, max int) {
	OptionalList(c, name, list, max, func(s *S) { Word(c, name, s, maxLen) })
}

// Sorted is [Strings] in ascending order, without repeats.
func Sorted[S ~string](c *Codec, name string, list *[]S, maxLen, max int) {
	Strings(c, name, list, maxLen, max)
	Ascending(c, name, *list, func(a, b S) bool { return a < b })
}

// Ascending fails unless each element of a list is less than the next one.
func Ascending[T any](c *Codec, what string, list []T, less func(a, b T) bool) {
	for i := 1; i < len(list); i++ {
		if !less(list[i-1], list[i]) {
			c.Failf("%s: %v after %v: want ascending order without repeats", what, list[i], list[i-1])
		}
	}
}

// OptionalOf is a member that is left out if p is nil.
func OptionalOf[T any](c *Codec, name string, p **T, value func(*T)) {
	if c.Optional(name, *p != nil) {
		if !c.writing {
			*p = new(T)
		}
		value(*p)
	}
}
