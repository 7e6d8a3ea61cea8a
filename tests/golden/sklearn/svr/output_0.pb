Boutput_0J@ŞeC«ÚCe9CÎ™Cğ\Cd©CáüC¡úC_…CÔC‹uÿB_eCqjC
0C'–CÂC