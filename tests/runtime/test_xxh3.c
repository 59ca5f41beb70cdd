/* The hash against digests of the reference implementation. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "core/xxh3.h"

#define LONGEST 3000

static const struct {
  size_t bytes;
  uint64_t hash;
} expected[] = {
    {0, 0x2d06800538d394c2u},    {1, 0x4c5cca45d0f4811fu},    {2, 0x29c60963cbfa4e6eu},
    {3, 0x6e3e2670e61106acu},    {4, 0x5c4c63133443d03fu},    {5, 0x49f5eb3111280b63u},
    {7, 0x46a5c724d51fe43fu},    {8, 0xf9fd4dd0b04d78f5u},    {9, 0x7c20df9712c26edfu},
    {12, 0x16d2dff54dc2ee45u},   {15, 0xb345a7b2698ba575u},   {16, 0x86abf6baccea0858u},
    {17, 0xb58bf5dc5022d071u},   {31, 0x48442fcd5518b086u},   {32, 0xe3712ed84c04a66eu},
    {33, 0xa4dee99b093e1f73u},   {63, 0x30ca01f63dcc223bu},   {64, 0x1291d2d4042330ddu},
    {65, 0x97c6bf83217e5ec9u},   {100, 0x5da67eac6d4093d5u},  {127, 0xed4cf62104020db5u},
    {128, 0x10d17f72c0ccba41u},  {129, 0x1648bdc3db49d1a2u},  {144, 0xb46dbfc6d9e31abau},
    {200, 0xc0fbc0f4e181c826u},  {239, 0xf0d154819adb16cdu},  {240, 0xb6cfaf343fab81e6u},
    {241, 0x956cae592c67279eu},  {255, 0x64a6073025eb7929u},  {256, 0xb15e550733c5dfacu},
    {320, 0x50c64a131ba9ddeau},  {1000, 0x377b990643fe09c3u}, {1023, 0xaa76836516a7ea30u},
    {1024, 0xa1e16f2edf2cbed6u}, {1025, 0x0a6d2c17259fe4bbu}, {1088, 0x0ef0c0dc0e8682f1u},
    {1089, 0xe9459411d2759a81u}, {2048, 0x1c81a12455515459u}, {2049, 0xe54b75096179fb9cu},
    {2999, 0x481747d5bc35b0b3u},
};

int main(void) {
  uint8_t data[LONGEST];
  for (uint32_t i = 0; i < LONGEST; ++i) {
    data[i] = (uint8_t)(i * 131 + (i >> 8) * 17 + 7);
  }
  CHECK_EQUAL(expected[0].hash, ec_xxh3(NULL, 0));
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; ++i) {
    for (size_t shift = 0; shift < 8; ++shift) { /* every alignment */
      uint8_t moved[LONGEST + 8];
      memcpy(moved + shift, data, expected[i].bytes);
      CHECK_EQUAL(expected[i].hash, ec_xxh3(moved + shift, expected[i].bytes));
    }
  }
  return 0;
}
