package fsm

// rowCache keeps the rows that every command of an incarnation reads again: its own, its activity's, and the size of its
// parts; and the count of minutes. Every write goes to the cache too, so it never differs from the tables; a batch that fails
// empties it.
type rowCache struct {
	rows map[string][]byte // by key; nil: there is no such row
}

// rowCacheRows bounds it: three rows for each of about a thousand game servers.
const rowCacheRows = 4096

func newRowCache() *rowCache { return &rowCache{rows: make(map[string][]byte)} }

// isCachedTable says whether the cache keeps the rows of a table.
func isCachedTable(table byte) bool {
	return table == tableServer || table == tableActivity || table == tablePartBytes || table == tableMinute
}

// lookUp returns a row, or nil where it is known that there is none.
func (c *rowCache) lookUp(key []byte) (row []byte, known bool) {
	if c == nil || !isCachedTable(key[0]) {
		return nil, false
	}
	row, known = c.rows[string(key)]
	return row, known
}

// storeRow is called with every row that is read or written; nil means that there is none. The cache keeps row itself.
func (c *rowCache) storeRow(key, row []byte) {
	if c == nil || !isCachedTable(key[0]) {
		return
	}
	if len(c.rows) >= rowCacheRows {
		clear(c.rows)
	}
	c.rows[string(key)] = row
}

// forgetRange is called with every range that is deleted. A range of a cached table empties the cache, and is rare.
func (c *rowCache) forgetRange(from, to []byte) {
	if c == nil {
		return
	}
	for table := int(from[0]); table <= 255 && (len(to) == 0 || table <= int(to[0])); table++ {
		if isCachedTable(byte(table)) {
			clear(c.rows)
			return
		}
	}
}

func (c *rowCache) clearAll() { clear(c.rows) }
