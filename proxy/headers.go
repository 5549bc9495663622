package proxy

import "net/http"

// headerFunc returns the names and values of headers that requests to a web address,
// host:port, have besides. Values may be secrets; they go to this address alone.
type headerFunc func(addr string) [][2]string

// add adds the headers for addr to those of a request. What the request says itself
// stays.
func (f headerFunc) add(to http.Header, addr string) {
	if f == nil {
		return
	}
	for _, h := range f(addr) {
		if to.Get(h[0]) == "" {
			to.Set(h[0], h[1])
		}
	}
}
