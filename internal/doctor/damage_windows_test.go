package doctor

func platformDamages() []damage { return nil }
