[
  {
    "role": "coordinator",
    "name": "isles",
    "public_key": "fd1ff14be276a5e49d154e808a83513f5705f449ff7e6a997e8be716ff30aeea",
    "signature": "4afe9fe8b9171739dcfa471debb108ca1f967a567d161b5e0e6638ec036ddd8ed0c7368f5a57d59b0d48c2bc0f712890cf09779ba2af0909b751cc40494c8e06"
  },
  {
    "role": "label",
    "name": "east",
    "public_key": "587f07db839fc57ab3568f04f3c9a4cd8e26ffe58381ac0dd93e6d7660ff4d09",
    "signature": "ef93befcf558292cf41b268aa539e98a2f251d5f4a373a178c388ff4d0c586e7d94ab46990cca6b43be9669a6a995af2677f80e51953747414673f1844214f03"
  },
  {
    "role": "label",
    "name": "north",
    "public_key": "fffb38c852bfd5ed68131170d8a5776e9ebbb5836f38314645c5a357a661e156",
    "signature": "0ad22afa220ce80261ae93464f576920188b189a1e30fe47d7d4135ebe57a808a5f73d0cb1fc880febf08b9ca7e24ec7481052c7d04b50c59b2bae24669b910f"
  },
  {
    "role": "label",
    "name": "west",
    "public_key": "6f2bdda8ef101b71471e2109b3353b08c2162c08c492710eae669c27ee61b5ac",
    "signature": "83c64bedbdb387c086be44d775a9fb322fccb4cf8ddac611bee9a35ee183b623a3cf258670f806d0bf5b71b1f2f13bd464f44da5455c2aa966d16d997c482902"
  }
]
