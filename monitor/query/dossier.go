package query

import (
	"context"
	"fmt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify/index"
)

// DossierOf asks a log that a monitor follows for its dossier of an identity. It is as the log made
// it: whoever gets the file checks it.
func DossierOf(ctx context.Context, m Asker, origin string, id poclog.Identity) ([]byte, error) {
	names := index.NamesAbout(id)
	if names == nil {
		return nil, fmt.Errorf("%s is not in an index: a quote is in one entry", id)
	}
	cl, err := m.Client(ctx, origin)
	if err != nil {
		return nil, err
	}
	d, err := cl.Dossier(ctx, client.DossierOf{Names: names})
	if err != nil {
		return nil, err
	}
	return d.Marshal()
}
