package keystore

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
)

const (
	armorBegin = "-----BEGIN "
	armorEnd   = "-----END "
	armorRim   = "-----"
)

// decodePEM is pem.Decode, which takes longer to find the block than to decode it.
// A block that stands at the beginning, without headers, as everybody writes it,
// needs no search; all else is left to pem.Decode.
func decodePEM(data []byte) (block *pem.Block, rest []byte) {
	kind, body, rest, ok := cutArmor(data)
	if !ok {
		return pem.Decode(data)
	}
	der := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	n, err := base64.StdEncoding.Decode(der, body)
	if err != nil {
		clear(der)
		return pem.Decode(data)
	}
	return &pem.Block{Type: string(kind), Bytes: der[:n]}, rest
}

// cutArmor takes the block at the beginning of data apart. Kind and body hold no
// dash, so that no other line of a block can be in them.
func cutArmor(data []byte) (kind, body, rest []byte, ok bool) {
	head, body, ok := bytes.Cut(data, []byte{'\n'})
	kind, begins := bytes.CutPrefix(head, []byte(armorBegin))
	kind, ends := bytes.CutSuffix(kind, []byte(armorRim))
	end := bytes.IndexByte(body, '-')
	if !ok || !begins || !ends || bytes.IndexByte(kind, '-') >= 0 || end < 1 || body[end-1] != '\n' {
		return nil, nil, nil, false
	}
	body, rest = body[:end-1], body[end:]
	for _, part := range [][]byte{[]byte(armorEnd), kind, []byte(armorRim)} {
		if rest, ok = bytes.CutPrefix(rest, part); !ok {
			return nil, nil, nil, false
		}
	}
	if len(rest) > 0 {
		rest, ok = bytes.CutPrefix(rest, []byte{'\n'})
	}
	return kind, body, rest, ok
}
