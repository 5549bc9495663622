package profile

const fixtures = "../testdata/fixtures"
