package main

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// Player is what the arena keeps of one player. A made one is 2 to 20 KB as JSON, with the nesting of a real save.
type Player struct {
	Name string `json:"name"`
	// Step rises by one with every change and never falls, whichever game server makes the change: a profile that is
	// read back with a smaller step than an acknowledged save had has lost that save.
	Step      uint64                      `json:"step"`
	Level     int                         `json:"level"`
	XP        int                         `json:"xp"`
	Coins     int                         `json:"coins"`
	Ledger    Ledger                      `json:"ledger"`
	Position  Position                    `json:"position"`
	Health    float64                     `json:"health"`
	Equipment map[string]Item             `json:"equipment"`
	Inventory []Item                      `json:"inventory"`
	Stats     map[string]map[string]int64 `json:"stats"`
	Quests    []Quest                     `json:"quests"`
	Gifts     []Gift                      `json:"gifts"` // the latest, newest last
}

// Ledger says where the coins came from and went: Coins is always Earned + Given - Spent.
type Ledger struct {
	Earned int `json:"earned"`
	Given  int `json:"given"` // by other players
	Spent  int `json:"spent"`
}

type Position struct {
	Map     string  `json:"map"`
	X       float64 `json:"x"`
	Y       float64 `json:"y"`
	Heading float64 `json:"heading"`
}

type Item struct {
	Kind  string   `json:"kind"`
	Count int      `json:"count"`
	Wear  float64  `json:"wear,omitempty"`
	Runes []string `json:"runes,omitempty"`
	Bound bool     `json:"bound,omitempty"`
}

type Quest struct {
	ID    string      `json:"id"`
	Stage int         `json:"stage"`
	Goals []QuestGoal `json:"goals"`
	Done  bool        `json:"done"`
}

type QuestGoal struct {
	Target string `json:"target"`
	Have   int    `json:"have"`
	Need   int    `json:"need"`
}

// Gift is the message that one player sends another.
type Gift struct {
	ID    string `json:"id"` // unique among all gifts of all game servers
	From  string `json:"from"`
	Coins int    `json:"coins"`
	Note  string `json:"note"`
}

const (
	maxInventory = 100
	maxGifts     = 20 // how many a player remembers
)

// What a world is made of. Nothing changes these.
var (
	maps    = []string{"harbour", "old-mine", "salt-marsh", "cathedral", "night-market", "frozen-pass"}
	kinds   = []string{"iron-sword", "oak-shield", "healing-draught", "lantern", "rope", "silver-ore", "wolf-pelt", "arrow", "map-fragment", "glass-bead"}
	runes   = []string{"ember", "frost", "echo", "thorn", "mercy"}
	slots   = []string{"head", "chest", "hands", "feet", "weapon", "offhand"}
	targets = []string{"wolves", "letters", "herbs", "lamps", "bandits", "relics"}
	groups  = map[string][]string{
		"combat": {"fights", "won", "damage", "taken", "blocked", "deaths"},
		"travel": {"walked", "climbed", "swum", "maps", "doors", "falls"},
		"craft":  {"smelted", "sewn", "brewed", "carved", "broken", "repaired"},
		"social": {"gifts", "trades", "greetings", "duels", "parties", "songs"},
	}
)

// NewPlayer makes the save of somebody who has played for a while. The same name gives the same save.
func NewPlayer(name string) Player {
	r := randFor(name)
	age := r.Float64() * r.Float64() // most players are young, a few have played for years
	p := Player{Name: name, Level: 1 + int(age*60), Health: 100, Equipment: map[string]Item{}, Stats: map[string]map[string]int64{}}
	p.Position = Position{Map: pick(r, maps), X: coordinate(r), Y: coordinate(r)}
	p.earn(50 + int(age*5000))
	for _, slot := range slots {
		p.Equipment[slot] = newItem(r)
	}
	for range 16 + int(age*(maxInventory-16)) {
		p.Inventory = append(p.Inventory, newItem(r))
	}
	for group, names := range groups {
		p.Stats[group] = map[string]int64{}
		for _, n := range names {
			p.Stats[group][n] = int64(age * 1e4)
		}
	}
	for i := range 6 + int(age*80) {
		p.Quests = append(p.Quests, newQuest(r, i))
	}
	return p
}

// Play is one moment of the game. It says whether something happened that the player would hate to lose, a purchase or a
// quest that is done: the game saves that at once and leaves the rest to the autosave.
func (p *Player) Play(r *rand.Rand) (precious bool) {
	p.Step++
	switch n := r.IntN(100); {
	case n < 55:
		p.walk(r)
	case n < 85:
		p.fight(r)
	case n < 95:
		return p.trade(r)
	default:
		return p.quest(r)
	}
	return false
}

// Receive takes a gift. It says false for a gift that it has had before, which the store promises never to happen.
func (p *Player) Receive(g Gift) bool {
	for _, had := range p.Gifts {
		if had.ID == g.ID {
			return false
		}
	}
	p.Step++
	p.Coins += g.Coins
	p.Ledger.Given += g.Coins
	p.count("social", "gifts", 1)
	p.Gifts = append(p.Gifts, g)
	if len(p.Gifts) > maxGifts {
		p.Gifts = append(p.Gifts[:0], p.Gifts[len(p.Gifts)-maxGifts:]...)
	}
	return true
}

// Balanced says whether the coins are what the ledger says: data put together from two saves would not be.
func (p *Player) Balanced() bool {
	return p.Coins == p.Ledger.Earned+p.Ledger.Given-p.Ledger.Spent
}

func (p *Player) walk(r *rand.Rand) {
	p.Position.Heading = math.Round(r.Float64()*3600) / 10
	p.Position.X, p.Position.Y = coordinate(r), coordinate(r)
	p.count("travel", "walked", int64(1+r.IntN(40)))
	if r.IntN(20) == 0 {
		p.Position.Map = pick(r, maps)
		p.count("travel", "maps", 1)
	}
}

func (p *Player) fight(r *rand.Rand) {
	p.count("combat", "fights", 1)
	p.count("combat", "damage", int64(r.IntN(200)))
	p.Health = math.Round(math.Max(1, p.Health-r.Float64()*30)*10) / 10
	weapon := p.Equipment["weapon"]
	weapon.Wear = math.Round(math.Min(1, weapon.Wear+0.01)*100) / 100
	p.Equipment["weapon"] = weapon
	p.XP += 10 + r.IntN(50)
	if p.XP >= p.Level*500 {
		p.XP, p.Level, p.Health = 0, p.Level+1, 100
	}
	p.earn(r.IntN(20))
	if len(p.Inventory) < maxInventory && r.IntN(3) == 0 {
		p.Inventory = append(p.Inventory, newItem(r))
	}
}

func (p *Player) trade(r *rand.Rand) (bought bool) {
	p.count("social", "trades", 1)
	if len(p.Inventory) == 0 {
		return false
	}
	i := r.IntN(len(p.Inventory))
	if price := 5 + r.IntN(40); p.Coins >= price && r.IntN(2) == 0 {
		p.Coins -= price
		p.Ledger.Spent += price
		p.Inventory[i] = newItem(r)
		return true
	}
	p.Inventory = append(p.Inventory[:i], p.Inventory[i+1:]...)
	p.earn(5 + r.IntN(40))
	return false
}

func (p *Player) quest(r *rand.Rand) (done bool) {
	i := r.IntN(len(p.Quests))
	q := &p.Quests[i]
	if q.Done {
		*q = newQuest(r, i)
		return false
	}
	q.Done = true
	for j := range q.Goals {
		goal := &q.Goals[j]
		goal.Have = min(goal.Need, goal.Have+1+r.IntN(5))
		q.Done = q.Done && goal.Have == goal.Need
	}
	if q.Done {
		q.Stage++
		p.earn(100)
	}
	return q.Done
}

func (p *Player) earn(coins int) {
	p.Coins += coins
	p.Ledger.Earned += coins
}

func (p *Player) count(group, name string, by int64) { p.Stats[group][name] += by }

func newItem(r *rand.Rand) Item {
	item := Item{Kind: pick(r, kinds), Count: 1 + r.IntN(16), Bound: r.IntN(4) == 0}
	if r.IntN(2) == 0 {
		item.Wear = math.Round(r.Float64()*100) / 100
	}
	for range r.IntN(3) {
		item.Runes = append(item.Runes, pick(r, runes))
	}
	return item
}

func newQuest(r *rand.Rand, place int) Quest {
	q := Quest{ID: fmt.Sprintf("%s-%02d-%04d", pick(r, maps), place, r.IntN(10000))}
	for range 1 + r.IntN(3) {
		q.Goals = append(q.Goals, QuestGoal{Target: pick(r, targets), Need: 3 + r.IntN(10)})
	}
	return q
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

func coordinate(r *rand.Rand) float64 { return math.Round(r.Float64()*1e6) / 100 }

// randFor is the chance that belongs to a name: the same in every process.
func randFor(name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash never fails
	return rand.New(rand.NewPCG(h.Sum64(), 0))
}
