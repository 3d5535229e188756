"""People in Spain's 52 provinces: the skew by which data teams divide, with 14 % in the largest.

Instituto Nacional de Estadística, Estadística del Padrón Continuo, 1 January 2018, by province:
https://www.ine.es/jaxi/files/_px/es/csv_c/t20/e245/p04/a2018/0ccaa001.csv_c
"""

from __future__ import annotations

PEOPLE = {
    "Araba": 328_868, "Albacete": 388_786, "Alacant": 1_838_819, "Almería": 709_340,
    "Ávila": 158_498, "Badajoz": 676_376, "Balears": 1_128_908, "Barcelona": 5_609_350,
    "Burgos": 357_070, "Cáceres": 396_487, "Cádiz": 1_238_714, "Castelló": 576_898,
    "Ciudad Real": 499_100, "Córdoba": 785_240, "A Coruña": 1_119_351, "Cuenca": 197_222,
    "Girona": 761_947, "Granada": 912_075, "Guadalajara": 254_308, "Gipuzkoa": 720_592,
    "Huelva": 519_932, "Huesca": 219_345, "Jaén": 638_099, "León": 463_746, "Lleida": 432_866,
    "La Rioja": 315_675, "Lugo": 331_327, "Madrid": 6_578_079, "Málaga": 1_641_121,
    "Murcia": 1_478_509, "Navarra": 647_554, "Ourense": 309_293, "Asturias": 1_028_244,
    "Palencia": 162_035, "Las Palmas": 1_109_175, "Pontevedra": 941_772, "Salamanca": 331_473,
    "Tenerife": 1_018_510, "Cantabria": 580_229, "Segovia": 153_342, "Sevilla": 1_939_887,
    "Soria": 88_600, "Tarragona": 795_902, "Teruel": 134_572, "Toledo": 687_391,
    "València": 2_547_986, "Valladolid": 519_851, "Bizkaia": 1_149_628, "Zamora": 174_549,
    "Zaragoza": 954_811, "Ceuta": 85_144, "Melilla": 86_384,
}  # fmt: skip
"""In the order of INE's codes."""
SPAIN = 46_722_980
"""INE's own total."""
