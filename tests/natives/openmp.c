// A library that computes with OpenMP, whose runtime keeps the threads of the first parallel region
// for the next.
#include <omp.h>

long count_squares(long n) {
  long sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(4)
  for (long i = 1; i <= n; ++i) sum += i * i;
  return sum;
}

// Which of the four threads took part, as bits.
int members(void) {
  int seen = 0;
#pragma omp parallel num_threads(4)
  {
#pragma omp atomic
    seen |= 1 << omp_get_thread_num();
  }
  return seen;
}

__attribute__((constructor)) static void StartAtLoad(void) {
  count_squares(1000);
}
