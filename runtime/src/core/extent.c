#include "core/extent.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgecomp/model.h"

/* Far from where sums and products of checked numbers would wrap around. */
static const int64_t most = INT64_MAX / 2;

int64_t ec_extent_value(const ec_extent *extent, const int64_t *symbols) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < extent->term_count; ++i) {
    const ec_term *term = &extent->terms[i];
    int64_t product = term->factor;
    for (uint32_t k = 0; k < term->symbol_count; ++k) {
      product *= symbols[term->symbols[k]];
    }
    sum += product;
  }
  return sum > 0 ? sum / extent->divisor : 0;
}

/* |factor| * product of the symbols' minima or maxima, which are not negative. */
static bool term_bound(const ec_term *term, const ec_symbol *symbols, bool upper,
                       int64_t *out_bound) {
  if (term->factor > most || term->factor < -most) {
    return false;
  }
  int64_t product = term->factor < 0 ? -term->factor : term->factor;
  for (uint32_t k = 0; k < term->symbol_count; ++k) {
    const ec_symbol *symbol = &symbols[term->symbols[k]];
    int64_t value = upper ? symbol->maximum : symbol->minimum;
    if (value != 0 && product > most / value) {
      return false;
    }
    product *= value;
  }
  *out_bound = product;
  return true;
}

static bool is_well_formed(const ec_term *term, uint32_t symbol_count) {
  if (term->symbol_count > EC_MAX_TERM_SYMBOLS) {
    return false;
  }
  for (uint32_t k = 0; k < term->symbol_count; ++k) {
    if (term->symbols[k] >= symbol_count) {
      return false;
    }
  }
  return true;
}

bool ec_extent_bounds(const ec_extent *extent, const ec_symbol *symbols, uint32_t symbol_count,
                      int64_t *out_low, int64_t *out_high) {
  if (extent->divisor == 0 || (extent->terms == NULL && extent->term_count != 0)) {
    return false;
  }
  int64_t added[2] = {0, 0};   /* least and greatest sum of the positive terms */
  int64_t removed[2] = {0, 0}; /* of the negative terms, without their sign */
  for (uint32_t i = 0; i < extent->term_count; ++i) {
    const ec_term *term = &extent->terms[i];
    if (!is_well_formed(term, symbol_count)) {
      return false;
    }
    int64_t *sums = term->factor < 0 ? removed : added;
    for (int upper = 0; upper < 2; ++upper) {
      int64_t bound = 0;
      if (!term_bound(term, symbols, upper != 0, &bound) || bound > most - sums[upper]) {
        return false;
      }
      sums[upper] += bound;
    }
  }
  /* Terms bounded one by one say more than there is: a size of b * s - b is never negative. */
  *out_low = added[0] > removed[1] ? (added[0] - removed[1]) / extent->divisor : 0;
  *out_high = added[1] > removed[0] ? (added[1] - removed[0]) / extent->divisor : 0;
  return true;
}
