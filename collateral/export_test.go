package collateral

import "context"

// Get asks as a cache does.
func Get(ctx context.Context, url string) (*Answer, error) {
	c := &Cache{http: httpClient(nil)}
	if err := c.cfg.setDefaults(); err != nil {
		return nil, err
	}
	return c.get(ctx, url)
}
