// The library that needs_neighbour.c links to.
int neighbour(void) {
  return 42;
}
