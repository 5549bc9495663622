package qr

// newCode is a code with everything but data and format.
func newCode(version int) *Code {
	size := 17 + 4*version
	c := &Code{Size: size, version: version, dark: make([]bool, size*size), fixed: make([]bool, size*size)}
	for i := range size { // timing
		c.fix(6, i, i%2 == 0)
		c.fix(i, 6, i%2 == 0)
	}
	c.finder(3, 3)
	c.finder(size-4, 3)
	c.finder(3, size-4)
	at := alignment(version)
	for i, x := range at {
		for j, y := range at {
			corner := i == 0 && j == 0 || i == 0 && j == len(at)-1 || i == len(at)-1 && j == 0
			if !corner { // where the finders are
				c.square(x, y, 2, func(ring int) bool { return ring != 1 })
			}
		}
	}
	c.format(0) // reserves the place
	c.versionInfo()
	return c
}

// fix sets a module that holds no data.
func (c *Code) fix(x, y int, dark bool) {
	if x >= 0 && y >= 0 && x < c.Size && y < c.Size {
		c.dark[y*c.Size+x], c.fixed[y*c.Size+x] = dark, true
	}
}

// square draws rings around a module: ring 0 is the module itself.
func (c *Code) square(x, y, radius int, dark func(ring int) bool) {
	for dy := -radius; dy <= radius; dy++ {
		for dx := -radius; dx <= radius; dx++ {
			c.fix(x+dx, y+dy, dark(max(dx, -dx, dy, -dy)))
		}
	}
}

// finder draws one of the three eyes, with the light ring around it.
func (c *Code) finder(x, y int) {
	c.square(x, y, 4, func(ring int) bool { return ring != 2 && ring != 4 })
}

// alignment is where the centres of alignment patterns are, in both directions.
func alignment(version int) []int {
	if version == 1 {
		return nil
	}
	n := version/7 + 2
	step := (4*version + 2*n + 1) / (2*n - 2) * 2
	at := make([]int, n)
	for i, pos := n-1, 17+4*version-7; i > 0; i, pos = i-1, pos-step {
		at[i] = pos
	}
	at[0] = 6
	return at
}

// format writes level and mask, twice, with their correction.
func (c *Code) format(mask int) {
	const levelL = 1
	data := levelL<<3 | mask
	rest := data
	for range 10 {
		rest = rest<<1 ^ (rest>>9)*0x537
	}
	word := (data<<10 | rest) ^ 0x5412
	bit := func(i int) bool { return word>>i&1 != 0 }
	for i := range 6 {
		c.fix(8, i, bit(i))
	}
	c.fix(8, 7, bit(6))
	c.fix(8, 8, bit(7))
	c.fix(7, 8, bit(8))
	for i := 9; i < 15; i++ {
		c.fix(14-i, 8, bit(i))
	}
	for i := range 8 {
		c.fix(c.Size-1-i, 8, bit(i))
	}
	for i := 8; i < 15; i++ {
		c.fix(8, c.Size-15+i, bit(i))
	}
	c.fix(8, c.Size-8, true)
}

// versionInfo writes the version, twice, where codes are so large that it cannot
// be counted.
func (c *Code) versionInfo() {
	if c.version < 7 {
		return
	}
	rest := c.version
	for range 12 {
		rest = rest<<1 ^ (rest>>11)*0x1f25
	}
	word := c.version<<12 | rest
	for i := range 18 {
		a, b := c.Size-11+i%3, i/3
		c.fix(a, b, word>>i&1 != 0)
		c.fix(b, a, word>>i&1 != 0)
	}
}

// place writes the bytes, in columns of two from the right, up and down in turn,
// and inverts what the mask says.
func (c *Code) place(words []byte, mask int) {
	c.format(mask)
	i := 0
	for right := c.Size - 1; right > 0; right -= 2 {
		if right == 6 {
			right = 5 // the timing pattern has a column of its own
		}
		for step := range c.Size {
			y := step
			if (right+1)&2 == 0 {
				y = c.Size - 1 - step
			}
			for x := right; x > right-2; x-- {
				at := y*c.Size + x
				if c.fixed[at] {
					continue
				}
				dark := i < 8*len(words) && words[i/8]>>(7-i%8)&1 != 0
				c.dark[at] = dark != inverts(mask, x, y)
				i++
			}
		}
	}
}

func inverts(mask, x, y int) bool {
	return [masks]int{
		(x + y) % 2, y % 2, x % 3, (x + y) % 3,
		(x/3 + y/2) % 2, x*y%2 + x*y%3, (x*y%2 + x*y%3) % 2, ((x+y)%2 + x*y%3) % 2,
	}[mask] == 0
}

// penalty counts what is hard to read: five and more modules of one kind in a
// line (rule 1 of the standard, and the one that tells masks apart most).
func (c *Code) penalty() (sum int) {
	for i := range c.Size {
		row, column := 0, 0
		for j := 1; j < c.Size; j++ {
			if row++; c.Dark(j, i) != c.Dark(j-1, i) {
				row = 0
			}
			if column++; c.Dark(i, j) != c.Dark(i, j-1) {
				column = 0
			}
			for _, run := range []int{row, column} {
				switch {
				case run == 4:
					sum += 3
				case run > 4:
					sum++
				}
			}
		}
	}
	return sum
}
