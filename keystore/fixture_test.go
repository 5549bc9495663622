package keystore

const fixtures = "../testdata/fixtures"
