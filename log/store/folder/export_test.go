package folder

import (
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/log/store"
)

// Fault has the system calls under evidence and guard fail.
func Fault(st *store.Store, f func(c durable.Call, made bool) error) {
	st.Evidence.(*evidence).files.Fault = f
	st.Guard.(*Register).Files.Fault = f
}
