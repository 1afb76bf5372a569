/* SPDX-License-Identifier: Apache-2.0 */
/* Written by make_hpack.py with python3-hpack 4.0.0. */
/* clang-format off */
static const struct hpack_vector hpack_vectors[] = {
	{true, 89, 29, 23,
		"4803353033400c677270632d6d65737361676503363836",
		":status=503\012grpc-message=686\012"},
	{false, 89, 12, 1,
		"8d",
		":status=404\012"},
	{false, 156, 78, 64,
		"3fa9018d610f35306f3042202c317566393a75383a400a782d74726163652d6964033130385519343620757a647964626973"
		"722f3d2f39764333717678252032",
		":status=404\012date=50o0B ,1uf9:u"
		"8:\012x-trace-id=108\012age=46 uzdyd"
		"bisr/=/9vC3qvx% 2\012"},
	{false, 165, 65, 48,
		"8861182f65202c434332716b3a6664375f3d616e3043776d675a751f2d12376e643d775f337443346f3a34766c203967",
		":status=200\012date=/e ,CC2qk:fd7"
		"_=an0CwmgZu\012via=7nd=w_3tC4o:4v"
		"l 9g\012"},
	{false, 165, 12, 1,
		"8d",
		":status=404\012"},
	{false, 193, 85, 59,
		"4803353033400b677270632d7374617475730336373362033534395f0334363462196972622c6e5a357633385f6139417a58"
		"656e362062795f3943",
		":status=503\012grpc-status=673\012et"
		"ag=549\012content-type=464\012etag=i"
		"rb,nZ5v38_a9AzXen6 by_9C\012"},
	{false, 182, 56, 35,
		"8d7720766e2d7a2d25386f386e6c43316a6e3558637a415f65732d255a69626e683a6c",
		":status=404\012set-cookie=vn-z-%8"
		"o8nlC1jn5XczA_es-%Zibnh:l\012"},
	{false, 182, 12, 1,
		"8d",
		":status=404\012"},
	{false, 146, 158, 145,
		"8d1f271542363a6d743531612f6a7978323a7637756d596b3b400c677270632d6d6573736167651166413078735969586e59"
		"5a3a2c7a622f68400a782d74726163652d69642159657535726e306138206539433b71756d434363623959762d6d646d4272"
		"767274400b677270632d7374617475731c622d725874323d2e316766633439412e6c676d393743786a342e5a2e",
		":status=404\012server=B6:mt51a/jy"
		"x2:v7umYk;\012grpc-message=fA0xsY"
		"iXnYZ:,zb/h\012x-trace-id=Yeu5rn0"
		"a8 e9C;qumCCcb9Yv-mdmBrvrt\012grp"
		"c-status=b-rXt2=.1gfc49A.lgm97"
		"Cxj4.Z.\012"},
	{true, 441, 303, 413,
		"88779b69a9d794b7a08050fef3b96f98e8ef152179e8eba4972d710bdced7682640240889acac8b21234da8fffc401e5fffe"
		"b7fffbfff7ffff7bffebfb3fffe1ffafffffc3fffff4dcffffd5ffffd9fffd9feb9ffffbbffff4deffff2c3ff7bdf6fffffe"
		"f33fffff1fffff5ffffeffffffdbffff4fc6fcdf59e3ffffff507ffffe3ffff57fffc7fffffedfffffbbfffff7fffffdffff"
		"f27ffffb3fffffa7ffff17ffffb787ff7fffd1fffe138ffffbdfc7ffffe6fffe03ffc7f777ffff57fffddffff6fffff3ffd7"
		"fffcffffff27fffddddfffff72fffffe3e7fffff8ffffe3ffffafb6dffff37ffff1ffffd1fffffb3ffffeff0fffede1affff"
		"ffa1effff360ffffb59d6ffff47ffffb3fe2df5fffff7bfffc9fffeae473fff87fff674a54fffff8ffcffff2e6ffff9fffff"
		"87fff38bf8ffffff5ffff9bffffebfffffebfffffd3cbffffeffffffc3ffffe7fffff57ffffff9fffff9bffff47fffff37f3"
		"ffffe157fffd9ffff7ffe7ff7fffd1fffffe0b7f7e999af2ec1e77151a94c567e7db5d9d7d46bf28f4098f45c92abb768ea3"
		"b8bc5eee0fdb971899efdef48b",
		":status=200\012set-cookie=44h.feC"
		"==2AZY:uxblv_m188bpmc:u6s.:q\012s"
		"erver=302\012grpc-status=W\210\255>\215`9Q"
		"\265#\324\333:\250\220\340'Y\251\344C\331A>T95\3133\311\216\267\373\344&TK,"
		"Lb\0310\335\206\321\032\374\375\314\330\307\013\226\317U~\346\261oa\247!\361\134a\000)B"
		"\250\214\243\236#\304\312\214S\377.\316x\003\272\351qR\343\277\245\372\314U\342UP\0108\343"
		"E\211L-\346\307|-,\313\330\206I6\134\340jm \311\077\331K\304\274\2022!\031\276"
		"\360\016\366W\314\301\341\356\012\361\245\006\042\253n\207\255|~\346\023-\012grpc-st"
		"atus=gC./oh6%a m_rX;4q79 4Xly0"
		"gol:dnB\012server=lv2wCv0Z::/g8Zv"
		"m2\012"},
	{false, 723, 167, 108,
		"8d77847ad93dff769323303e967d79b44fc6562ec9eda52ca6cb8eff7c9a53d735e9338af8f1310ffabd475436ddf4061f69"
		"107dad44501f55836da17f1f138d3f9f5dd46bcd0e1a638a5bd44b4087f2b26c190ab1a495fdfb2c7441facf5041fb0f5efc"
		"c9efdfeb8c36d23f",
		":status=404\012set-cookie=8udz\012se"
		"rver=c3=9t3yxu29be/Bdz4 rmr:7\012"
		"via= yY.mi6%wwgcoZ.no%1uBy0/94"
		"s=;-l_=o\012age=542\012etag=oxyv 4xl"
		"6igo2fClf\012x-trace-id=Z;ebl=Z3k"
		"0=ZAkvYczzZ6/54s\012"},
	{false, 996, 144, 77,
		"8d61837196ff559e08c972cec7fdf3eeb4c5d7cf9f11149306463f7f7c4eb117a1d727723a7f5f8365e0ff7f029657e80cc5"
		"643efb47cff485616ed1542919badcd428cf6286f70be644dda5c2",
		":status=404\012date=635\012age=1ac:r"
		"qoZxzpt_kxxw_ecg1d/ZZwh-c.l76h"
		"6bm\012content-type=381\012x-trace-i"
		"d=%,03_rAzqbYZce/-q_n2d3B5gl 3"
		"\012etag=zA9isgqf\012date=635\012"},
	{false, 0, 187, 132,
		"2088618afd66f3495fa45f5dbf7f40889acac8b21234da8f999af2ec1e77151a94c567e7db5d9d7d46bf28f4098f45c92abb"
		"7c8269df77847ad93dff40889acac8b21234da8f999af2ec1e77151a94c567e7db5d9d7d46bf28f4098f45c92abb55836da1"
		"7f4087f2b26c190ab1a495fdfb2c7441facf5041fb0f5efcc9efdfeb8c36d23f",
		":status=200\012date=Z3C4t.j_,qZ\012g"
		"rpc-status=gC./oh6%a m_rX;4q79"
		" 4Xly0gol:dnB\012via=47\012set-cooki"
		"e=8udz\012grpc-status=gC./oh6%a m"
		"_rX;4q79 4Xly0gol:dnB\012age=542\012"
		"x-trace-id=Z;ebl=Z3k0=ZAkvYczz"
		"Z6/54s\012"},
	{false, 0, 51, 28,
		"887699a49d2bf3d7f0fe99b5963f4d79d6b9b87b8c75f54b9779dcb3",
		":status=200\012server=mcjpxkXoy3u"
		"3/ZiC74Y6o:/kym6BY:r\012"},
	{false, 144, 66, 30,
		"3fa9018877847ad93dff618379a7bf778d8beb9ca5f0523f38cb73f6bb5c",
		":status=200\012set-cookie=8udz\012da"
		"te=848\012set-cookie=_,Yfewec9hae"
		":Zpu6\012"},
	{false, 187, 42, 21,
		"48836c0cff10889acac8b21234da8f805f836df6ff",
		":status=503\012grpc-status=\012conte"
		"nt-type=595\012"},
	{false, 160, 122, 72,
		"8d55836da17f7c8269df768ea3b8bc5eee0fdb971899efdef48b6283780eff40889acac8b21234da8f8313eeff7e999af2ec"
		"1e77151a94c567e7db5d9d7d46bf28f4098f45c92abb",
		":status=404\012age=542\012via=47\012ser"
		"ver=lv2wCv0Z::/g8Zvm2\012etag=807"
		"\012grpc-status=297\012grpc-status=g"
		"C./oh6%a m_rX;4q79 4Xly0gol:dn"
		"B\012"},
	{false, 0, 96, 67,
		"2048836c0cff55836da17f619c5a2e87a267ab221ef373cf627e5925c7d34393b3d3c7ef827b56963f5598fa65917d4a77ab"
		"eaf85b80bd84f92f510550d9f910f9fd7f",
		":status=503\012age=542\012date=-_jol"
		"g8pcs8x:xqcXrd:9tl6h3jwZwcz%m/"
		"\012age=,332,fo8pk915=eq29cCl=nAr"
		"X_aY,\012"},
	{true, 250, 151, 111,
		"3fc90788768c6dc3f99fa50324af186c47734087f2b26c190ab1a4c4fffffc5fffdcffdb7fffffb7ffe7ffffe4ffff1fffff"
		"bffffd3e7fffdf2fffffe2ffff07ffff9ffffe86ffffed7ffffe2ffffff7ffffe1ffff46afffffe9ffffa3ffffe761836de1"
		"7fbf76827c215f837df73f",
		":status=200\012server=56oxhjlacf8"
		"ia/b:\012x-trace-id=\326\231[5\373<\336\321\353\204Y\254e"
		"\326\260\341\2455\211\326\033\274\306O\013\306\325\012date=582\012x-trac"
		"e-id=\326\231[5\373<\336\321\353\204Y\254e\326\260\341\2455\211\326\033\274\306O\013"
		"\306\325\012server=911\012content-type=996"
		"\012"},
	{false, 558, 188, 355,
		"48836c0cff628bfc8fdb678e0b28fdba029f40889acac8b21234da8fffc001ffffa6bfffffcffffffbfffff2fffffd1fffff"
		"f3fffff93ffffdbffffb7ffff8fffffa7fffaffffc5cffffff0c9ff3fffec7fffea67fffff77ff7fffff67fffff77fffa5ff"
		"ffddfffff97fffd9ffffbbffffb7febfffffabfffffdbfffe5fffe1ff3ffffd7ffffe9ffffb1ffff3ffff67fffa5981fffeb"
		"ffff87ffff0fffdbd93ffff141ffff2fffffe2fdffffddffff8bfffc7fffffa3ffffe2ffff63ffffe7fffffd8bfffff57fff"
		"ff57fff561fffe1fffffefffe7ad9ffff67fffff57fffc10ffff331fffff5ffffe3fffff3ffffc5ffffb35fffff5a3459fff"
		"eb7cffe3fdd9fffffc3fffff8bffffdfffdffffcbffffd5fffff7fc7fffb5fffe0c3fffff27fffdeffff6ffffb3fffe3ffff"
		"813f4c7fff77ffff7ffffdcfffebffffffea7fffffbbffffe0ff5ffffb3fffa26f9fffe6fffffeffffff1ffff913fffff47f"
		"618365a07f",
		":status=503\012etag=Xbz5ob=rlZB0e"
		"o\012grpc-status=\344p\364\375\233\332\035\336\317\264\277\354\222\3036\023"
		"I|\001\2503\374~\372\021\201\224\337\234\214\264#\014\032\275\134|\355\333\001\304\340\201K0\222"
		"\261\225`CI\226=\275\326Z\266\226\321\365\310\232\325\372.\011\014\270F\134\033^yQ\207\367"
		"\262A\200/\360\227\341\226\257P\216sMr\210*\000+r\376\002\353~\233\011\314w\240\260F"
		"\312\215\243\340\272\262t,/\241\267\213\302\371m\021\300'\257\203g*\200\022\316\273t\332\012d"
		"ate=340\012"},
	{false, 820, 202, 150,
		"885f82253f40b5f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3"
		"e7cf9f3e7cf9f3e7cf9f82081940899acac8b5254207317fc5fffff2fffffbdffff87fffe4ffff4bfffff2cdfffef7ffffc3"
		"3ffff1ffd7fffb1ffffdccfffffeefffffe8a7fff8ffffa5fffee7fffffa378ab468fffffe3ffffefffffff7c7c87e826c02",
		":status=200\012content-type=cm\012xx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxx=1"
		"03\012grpc-message=\327\313\225\273\201\337g\252\301h\303@\232\224"
		"3\374\010m\303\201\244\0305GpsM\003\237\033\012date=582\012x-tr"
		"ace-id=\326\231[5\373<\336\321\353\204Y\254e\326\260\341\2455\211\326\033\274\306"
		"O\013\306\325\012grpc-message=502\012"},
	{false, 1000, 102, 56,
		"c57c9ba47799f357e4d318c75af4ef0ed9fb9d45279a0afcb7d4eb417abf7793796796a53613f7ebee763cd12557849b7f3a"
		"ff77832b8aff",
		":status=503\012via=maC3xnXggiio-C"
		"h8auhvo  hg=px5ko-=Cp\012set-cook"
		"ie=8-8-mtrcZ,;h/xldnC2tuXk\012set"
		"-cookie=e6%\012"},
	{false, 985, 361, 757,
		"887f02ffad021fffff9fffff3ffffd3ffffffefffffec93fffff67fff8b3fff6f7fffff2ddffffff3fd47fffa5fffffc3fff"
		"feafffffcdfffe9ffffadfffc3ffff37ffffe6ffffe1fffedffff5ffffffeb9fffff4ffffff87fff9377ae583e3ffff37fff"
		"cdfffffa7ffff3ffff8ffffbbfffe0ffffb3d3fffef5d17ffcc5e7fff98dff5fffe5ffff8ffffe297fffdffffff7ffeb77ff"
		"fff7db07ffffd3fffcbfffe6d7bfffffe1fffdfffff4ffffae82ffffc9fcffffff97f11ffffbd8bfdff547c7fffd9fffff5f"
		"fffff1fffffd1ffffb7fffff0ffffff2ffffecfffffff3ffffdef7f3ffffcbfff8ffff8bffffdefffffc9fffc32fffffd5ff"
		"fffb7ffff37fffeafffffe2fffeeae8ffff63fffff9bfffff272816fbfffe3fffc7fffdcfffffe4ffffab67fffffeffffff2"
		"23ffff4adfcffffd5ffffcfffffa7fffffc7ffffcdfffdbffe7ff3ffffffcffffc7ffff7bf9fffed8ffffe97fffffabd7fff"
		"ff77ffffbb67fffffcffffff4ffff8b3ffff77ff7fffff93fffc3fffeffffff4fffcb17ffffe1fffffefffff7e9ffffb9f3f"
		"cfffff7ffebffefffff2fffffdbffff2e9ffff1ffffbffffffa7ffffebffdffffe9f1f2dffbf01fffeffffffefffffff3fff"
		"ffe8ffffff8a3ffffeb72dfffefffffe1fffff7affffffcdffff8ffffffdf17f56edfffffa3ff9fffffff7d7ffffd9ffff7a"
		"5fffe18ffffffe8ddbfff9f97fffcdfffecffffd1fffff9bfff8cdffffd3ffffdfaf07fff6c7fffec7fafe19ffff993d3fff"
		"e3ffff07ffffc9ffff2f95b6ffffff935b7fff97ffff6cbfffff97fffff3e8ffffffbffff57ffff57fffaffffffcfffffedf"
		"fff4bfffed7ffcdbfffe4fffff5dcb7fffc1ffff87e20d3fffdeffffcdffffff3ffff93fffd2ffffe9fffff7bfffffa7bfff"
		"ffdbfffffd1ffff9ffffffdbffff07ffffe9ffffe5fffff603ffcfffeafffffbd1ffffe0fffe3ffff8ffcffd7ffffd9fffef"
		"7fffbfff5fffffcdfffdfff5ffff7bfffd5ffff87ffff47efffffdfffffb9fffec7ffbffffff3ffff6bffffc7fffff93ffbe"
		"7fffffdffffe3f",
		":status=200\012grpc-message=a\341\347\246\015"
		"\372d\372\263L~C\005B\027Zs\201\376\356\361\204\210\134\235\361\274\243\302\3346\333\023\330S"
		"yWE&\235\276\366\236\321\241\260\207j\215B2<Gx\200i#\331\272\271f\255\353@S"
		"\022u=\333\320\276PT\301{\333\222se\273\042\025!b\252G+(l&\207\355\024\365\264"
		"\324\005\257\012\3538\042\305\303\263\3539\273\134J\356\373\235\250\002\241.s\232\006\336W=-;"
		"\303\303\244\004\350Q\334\004s\246-\042\350\347\357\034\322\342^]\012\227\215\042\342b\3449\011y"
		"\021\352Q\035\013\263L\241[\336\261\255\357{-e\301\022\255m\213*\042\237@`\305\373\275N"
		"\321\255\366\360[\246\012via=\254\375\027\010\034l\3606u\254\225\353.\006\227\033G(u"
		"R\332]\026,\362\215f\134H\036iq\202W\276\234\306\361\303g\357\353PE\342b\232'!"
		"3\276tj\272\260\312\275x-R\0254R\320\221f\337\364M\037\206\250\222\007\317\201\211<R"
		"\330\355S-\262\225&=N\247\235\035\230\201\357\313\013v\363\010\236\032\223\366\305\3620^\270\313"
		"b\223\303\227\077@\362\252\255#\006\254'\215\206\265\245Z\314\213\232}\035\211\316\004~x\033\272"
		"\012"},
	{false, 904, 172, 54,
		"8d4087f2b26c190ab1a483640effc55f8369d6ffbf1f068634d55ef7faa77c91927e91d9123dd2f26665f5a3f12dd519eb62"
		"8371c6ff",
		":status=404\012x-trace-id=307\012xxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxx=10"
		"3\012content-type=475\012x-trace-id="
		"307\012age=ignCzZ \012via=dhjbr_szm8"
		"tg39-bwfB 3k\012etag=665\012"},
	{false, 991, 74, 25,
		"3fe11f8d558634d55ef7faa7bfc77f0481f71f2d84868b947f",
		":status=404\012age=ignCzZ \012etag=6"
		"65\012grpc-message=502\012grpc-messa"
		"ge=z\012via=Al:l\012"},
	{false, 1234, 207, 321,
		"885f9a9d7f3e678ef19d589644719eef6adb9fba54716fb38fcfbb9f62c07f00ff9f01ffff4ffffdeffffaffefffff87ffff"
		"e9fffffedffff3ffff8fffff1ffffffd7fffc1fffff9bffff2ddffff47ffff0fffdffff2fffffffdffeffffe8ffac8c7fffc"
		"1fffff81eff25ffffe7f9fffdeffefffffeeb51ffff9bfffffd3ffff8fe7fffe3fffdfffffcffffd7ffffd8fffffe5fffffc"
		"3fffffdfefffff17ffffff7f1fffc7fffffd7ffff57fffb3ffff1490ffff67ffffc78fffffbffffffb3ffff9fffeffff6fd7"
		"c7fffadffff83fffef7fffe3effffff5ffffff77e7fff9abffffff56bfffffd3ffffedfffffe2ffffb7fffffaf9ffe42e72f"
		"fffd7fffe1e5bfffffe5efffff2ffffb9fffffdd37ffffe78ffe7fffe3ffff37ffffc5ffffc3fffe5ffff2fffffc3fffed7f"
		"fffeaffff63ffffe7fffffff3fffff0ffff6ffffdc",
		":status=200\012content-type=h.xxh"
		"bCi7-cr_oaoBqp5hvt 6-;oaxz:;2\012"
		"age=ignCzZ \012grpc-message=\204\252\351>\274"
		"\366\020\345\321\227\036\262\361\233B\346\274{\275\026}\245#I/\262\3238\077f\347X\247~\374"
		"us\235\030\277X\227{\007\302\2209\233\324\022z\226\371!\303\031\250\234\271dA\340\311H\237"
		"\017\347{\243y&\210\223\215\227v\360\021X\343p\0314\030\363\002\212\370Y$16W\256\261"
		"WT\315v\275\244\021g\364b|\227\343\310\274\275\331\301\240\367\232\325\012\324\342\213\012"},
	{false, 1529, 232, 349,
		"8dc7779d72559d6811097fa99b8fc7d41e685e405c179ef62d1b0cf80942bfd5bf5f827c3f61ffb501ffff8befffffecffff"
		"f3ffff6bfffdfffff7bfffff87fffff287ff7fffff37fffa5ffffa727fffb3668c09d3fffffe5a509fffe1fffffcdffff01f"
		"fffffbbfffd6ffff5bffffdf0e6e9dbffffbbffdfd77ffffd3ffffee5fff5fe7efe55fffff77ffffd3fffed7ffffdbfffff8"
		"fffffddffff93fffff2fffd93ff3ffff83fe97fffffe4fffffc3fffffce5fffffd7a3ffffffdfffffe7fffffffbfffffbbff"
		"fc94fffff0ffffff4fffedfffff77fffaffffffed87fff9fffff9ffffffbffffffe816fffffabfd7fffb7ff9ffffeffffff8"
		"f07ff7ff3ffffff3fffff93fffe887ebfffff2ffff73ffffffddbfffffe5ffff67ffff0ffffe9ffff53ffffffcffffebffff"
		"fa0aa7fffff9ffffffd7ffff3fff95d1ffffe9fffff37fffd5fffffbfaffffff27fffc7ffafffffd7fffecffff7ffffa7f",
		":status=404\012set-cookie=e6%\012set"
		"-cookie=6f-740_2.,g5bw,=xl.d0:"
		"2xvr-b/3w1e1.,u\012content-type=9"
		"1\012date=\271;\362\341\240\255\252\376\0051[\322\201\246I\234rMEtN\025N"
		"st\134\006\262o\021\210\210\353AKjq\224}Z7\354\377.@\077ZXn\377\333\240\363"
		"\335\352\230\337`d$\223#.\004\324\007e\370M\015\007\026\021\330m\274\030\342\352\222\032F\202"
		"\347\033\3340-\356'\243$\237\311E~$\035\336\306A,\337\231\015R\025\207\225\246\205\012\216"
		"\332e \027\036\347<pl\354\322\350\375k\004\272@\370\234\254\242\012"},
	{true, 45, 27, 6,
		"8d7703373434",
		":status=404\012set-cookie=744\012"},
	{false, 273, 108, 88,
		"48033530337703353031400c677270632d6d65737361676503323230623a35690fedade958fb4c8146a626837a028593c667"
		"bafd155b551e25835b898b02c8a9077a5394ddce34e481a8933a5fb53708bb4fd1223e833efb",
		":status=503\012set-cookie=501\012grp"
		"c-message=220\012etag=5i\017\355\255\351X\373L\201F"
		"\246&\203z\002\205\223\306g\272\375\025[U\036%\203[\211\213\002\310\251\007zS\224\335\3164"
		"\344\201\250\223:_\2657\010\273O\321\042>\203>\373\012"},
	{false, 498, 192, 135,
		"8d403c7878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
		"787878787878787878787878781de23ed5e35fea7e5012a69f3f7bbbe040048e68279d9ebc61ca3a79f9b81f311075416f32"
		"5f396b686977746a58657435c3770336256b5f0f58726d7569413d392d6d7361436133",
		":status=404\012xxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxx=\342>\325\343_\352~P\022\246\237\077{\273\340@\004"
		"\216h'\235\236\274a\312:y\371\270\012grpc-message=uAo2"
		"_9khiwtjXet5\012set-cookie=744\012se"
		"t-cookie=6%k\012content-type=Xrmu"
		"iA=9-msaCa3\012"},
	{false, 733, 127, 85,
		"88400a782d74726163652d69640235307e1474432c3769626b34433d3d6a326b2c743564612f7e135f3b2c6d58663d69326c"
		"7270323931415875325f187a436c6c39787676647a3d3437706c7967767a76416b396a",
		":status=200\012x-trace-id=50\012x-tr"
		"ace-id=tC,7ibk4C==j2k,t5da/\012x-"
		"trace-id=_;,mXf=i2lrp291AXu2\012c"
		"ontent-type=zCll9xvvdz=47plygv"
		"zvAk9j\012"},
	{false, 943, 161, 54,
		"881f30033737327f0703333139610862622f312c3366667f071b763b6e6b70422c65435a7762342c3d3d587a2d6c257a6264"
		"2e632ebf",
		":status=200\012x-trace-id=772\012grp"
		"c-message=319\012date=bb/1,3ff\012xx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxx=v"
		";nkpB,eCZwb4,==Xz-l%zbd.c.\012dat"
		"e=bb/1,3ff\012"},
	{false, 943, 12, 1,
		"8d",
		":status=404\012"},
	{false, 956, 137, 57,
		"3fc9078d7c14702530252059647a257a6f67353969596e7474326203393734c7bec2400b677270632d73746174757308722f"
		"5a767a20315fc9",
		":status=404\012via=p%0% Ydz%zog59"
		"iYntt2\012etag=974\012content-type=X"
		"rmuiA=9-msaCa3\012etag=974\012grpc-m"
		"essage=319\012grpc-status=r/Zvz 1"
		"_\012set-cookie=6%k\012"},
	{false, 996, 27, 10,
		"48033530337703373434",
		":status=503\012set-cookie=744\012"},
	{false, 177, 12, 4,
		"3fa9018d",
		":status=404\012"},
	{true, 342, 197, 140,
		"48836c0cff7c9195bbbfbfb5b9e6160337e4d57ddc6226ff4087f2b26c190ab1a48bfa045d99eeac278cbf7de8778375b7bf"
		"769efd5cf14806d5a3c74f732b0d90f69bdfbf72faefd79f47aa82cec072d87f40889acac8b21234da8f9573bf7eb7a8f3e3"
		"f50dccd44260f4aa8fab3f27549f1f1297b109fd8ab6eeabcc68e73cf378b1e74119be8167ab8cff",
		":status=503\012via=f5BZZp6xA/1gXg"
		"n;:/_5\012x-trace-id=,0_q3v%Aobe;"
		"vl\012set-cookie=758\012server=Z.o_d"
		"05%lwjzg%ArAqgzzzfyvkYj8n=rq06"
		"uA\012grpc-status=6vvkClxwZs5g4_2"
		"/om%s,rXh%c\012date=rstZ_p5B%YasY"
		"hhgwr870bi,0ry:3\012"},
	{false, 897, 357, 619,
		"8d76ff9101ffffbdbfff7cfffff1ffffff67ffffa7fffffc7ffffe1ffffffaffd7fffffc7ff317fff77fffe8cd7ffffe9fff"
		"fcdfffff7e8d3e6b575ffffff4ffffff2e8ffffe9fffff17fffe3fffffbd47ffffff7fffffa7f1ffff5d1ffffe35ffffb967"
		"fffff0717fffffe9eb0ffffd7fffe7fffffd2f7ffffe0e6fc3ffff77f7ffffbbfffd6ffffb5fffe97fffff4ffff93fffff5f"
		"f1ffffdac7fffffd7fffeafffffa3e58ffffd3ffff43ffffd1fffeafffff7ffffc9ffff9ffffff07fffffa7ffff2fffffeaf"
		"ffff8ffffc1fffffe9ffff6bffffeeffff6ffffff3d3ffffb7ffff17ff7fffe9ffffd9ffffebffff2ffffeaffff435fffff0"
		"55ffff9fffff07fffeaffffb1fffcdffffeffffffb3fffee7fffdc7f008379f7ff7f04ff9b01ffffbdfffff4fffffeafffff"
		"e2cfffff47f9fffec7ffffa7fffe6cae86c170bfffffeb559ffffe5fdffff1fffff6ffffb3ffffa3fffef7fffb9fffeb7fff"
		"ffd7dfffffc5f5ffffe1fffff6ffffff5ffffff8fffffe8ffffc1fffefffeffffffebfffffcbffff47fffb197fff7ffffdfd"
		"bff3ffff07ffffa7fffff3ffffbffffffc3f2bffbf1ffff9ffffff7ea67ffff6ffffdcffffdffffeeffffc3fffd9ffff61ef"
		"fffffd6717ffff67ffffd5fffcee2bffff9bfffee0ffff977fffff2ffffcbffffc3d7fd61fffefffff7bfffe3fffff97ffff"
		"febfffe5fffffc5fffea63ffffc5ffff57f9fffffc7fffefffffe2ffffecfffffddfffffcbffeffff7bfffd3fffffdbfffff"
		"77fff8bfffff441ffffe5fffdfe9ffffd9fffebf768379b0ff7c869aaba4bb154740899acac8b5254207317f82643f7694ef"
		"3dc9fa74eaa30d7df4714603fab77927b8cd3f",
		":status=404\012server=\215T[Y\227\017\354\034\324\036@"
		"\034]G\241\306KD\344\235\314lNxp%P\013\005M\357\310\227\313l\371\030!\351l\316"
		"p\244r\3766.\013kA\351\345\3668\323Y9A\214Z\224\210\211\201\013\330\370!\221/\036"
		"\250\332*/\246\3069\203\206\237\273\236\323\030\305\014\311\260\030\211\377\243\364m\264\226~\344\257\355"
		"\275\250\3464\300n\236\223\250\001\200\353\362\213\213\012grpc-status=89"
		"9\012x-trace-id=\215\333\367\002L\306\077\232\354\235J71r2UD"
		"\355nr\327)\303\317\234\245\215\244\210\036;\310,\253\363\016\024\365\223\255[\036\025\245\232J{"
		"\314R|\223\354\007\255\376Xp>w\236\375O3\264\213\267\251\265\340\0018\3343G\220\356\202"
		"6%\235\213a\320v\327\233\274y#F\254\247\272\315\036\275\326\205H\226\350\077\003\255\226\220\374"
		"\005}\247\204\373\377\263\365=\327\254j\220\222\012server=851\012via="
		"gnBcB_no\012grpc-message=31\012serve"
		"r=vh:hjjk /4;j6 /1Z-vdh:3m\012"},
	{false, 944, 54, 10,
		"3fc9078d7f00826c41ca",
		":status=404\012grpc-message=521\012v"
		"ia=f5BZZp6xA/1gXgn;:/_5\012"},
	{false, 988, 42, 6,
		"8d77827ddfc5",
		":status=404\012set-cookie=97\012grpc"
		"-status=899\012"},
	{false, 937, 148, 39,
		"8dcb7c879bd906667b52afc8768afb426277c4fee8e8183f7c8270217f09826dcf7f0983784eff",
		":status=404\012via=f5BZZp6xA/1gXg"
		"n;:/_5\012via=gzcai3qm%\012grpc-stat"
		"us=6vvkClxwZs5g4_2/om%s,rXh%c\012"
		"server=;st_7whzlj1=\012via=611\012gr"
		"pc-status=56\012x-trace-id=827\012"},
	{false, 59, 240, 359,
		"3f2148836c0cff40889acac8b21234da8f9573bf7eb7a8f3e3f50dccd44260f4aa8fab3f27549f76ff9101ffffbdbfff7cff"
		"fff1ffffff67ffffa7fffffc7ffffe1ffffffaffd7fffffc7ff317fff77fffe8cd7ffffe9ffffcdfffff7e8d3e6b575fffff"
		"f4ffffff2e8ffffe9fffff17fffe3fffffbd47ffffff7fffffa7f1ffff5d1ffffe35ffffb967fffff0717fffffe9eb0ffffd"
		"7fffe7fffffd2f7ffffe0e6fc3ffff77f7ffffbbfffd6ffffb5fffe97fffff4ffff93fffff5ff1ffffdac7fffffd7fffeaff"
		"fffa3e58ffffd3ffff43ffffd1fffeafffff7ffffc9ffff9ffffff07fffffa7ffff2fffffeafffff8ffffc1fffffe9ffff6b"
		"ffffeeffff6ffffff3d3ffffb7ffff17ff7fffe9ffffd9ffffebffff2ffffeaffff435fffff055ffff9fffff07fffeaffffb"
		"1fffcdffffeffffffb3fffee7fffdc55918bbb7efaf7663282e2d71e4b5d21752eb7628208817c93ef0fbfd0ca0b7c1480eb"
		"e85434caf715eb1f5f",
		":status=503\012grpc-status=6vvkCl"
		"xwZs5g4_2/om%s,rXh%c\012server=\215T"
		"[Y\227\017\354\034\324\036@\034]G\241\306KD\344\235\314lNxp%P\013\005M\357\310"
		"\227\313l\371\030!\351l\316p\244r\3766.\013kA\351\345\3668\323Y9A\214Z\224\210"
		"\211\201\013\330\370!\221/\036\250\332*/\246\3069\203\206\237\273\236\323\030\305\014\311\260\030\211\377"
		"\243\364m\264\226~\344\257\355\275\250\3464\300n\236\223\250\001\200\353\362\213\213\012age=_"
		"v5zkv3be0:-:8t4jA7t75\012etag=120"
		"\012via=vAzZ1f0uwec0ky2l43.:%kbk\012"},
	{false, 154, 194, 183,
		"3fa90188779ff6485157e9fd51f5f97885fd5407eddcb3c96aeb52a7ecb07dfd05797bfefa40b5f3e7cf9f3e7cf9f3e7cf9f"
		"3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f836de6ff10899aca"
		"c8b5254207317fb68bfffff97fffd3ffff0fffffe8fffffd3fffd9fffff1ffffd8fffff1fffffa3ffffb7fffffa3ffffe527"
		"ffcaa96bfffffc55fffff8457c93ef0fbfd0ca0b7c1480ebe85434caf715eb1f5f",
		":status=200\012set-cookie=zcAsnZo"
		"yl,XCceZ%0oqvehdu.-m Zf=;,1.fv"
		"Zy\012xxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxx=585\012grpc-message=_\005\204\261\365\366\340\311\001"
		"\316\332\221\010\315c<nm4\024%\3012\012via=vAzZ1f0uwec"
		"0ky2l43.:%kbk\012"},
	{false, 149, 59, 42,
		"48836c0cff40889acac8b21234da8f9573bf7eb7a8f3e3f50dccd44260f4aa8fab3f27549f558313af7f",
		":status=503\012grpc-status=6vvkCl"
		"xwZs5g4_2/om%s,rXh%c\012age=278\012"},
	{false, 180, 94, 99,
		"c040899acac8b5254207317fb68bfffff97fffd3ffff0fffffe8fffffd3fffd9fffff1ffffd8fffff1fffffa3ffffb7fffff"
		"a3ffffe527ffcaa96bfffffc55fffff845769efd5cf14806d5a3c74f732b0d90f69bdfbf72faefd79f47aa82cec072d87f",
		":status=503\012grpc-message=_\005\204\261\365"
		"\366\340\311\001\316\332\221\010\315c<nm4\024%\3012\012server=Z.o_"
		"d05%lwjzg%ArAqgzzzfyvkYj8n=rq0"
		"6uA\012"},
	{true, 151, 114, 84,
		"8d1f278213415591a7b7e0adb9dfc0c1dc7187d2bec1e21faf40b5f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7"
		"cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f837dd0ff",
		":status=404\012server=241\012age=mqX"
		"2u:vwa0vab1y%z0wA,\012xxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxx=971\012"},
	{false, 630, 359, 574,
		"48836c0cff7f00ffa702fffe3ffffd6b7fffc32ff5ffffa3fffff93ffffc74fffffecffff6d46ffffd137ffffa7fffbfffff"
		"f4f2fffffe6ffffecffffffefffffe9d7ffff2fffff9ff9fffffaffffd8fffffbd67ffbfffff47fff92967ffff4ffffdcd7f"
		"ffedfffffd9ffff5ffffdfffffb12ffffcc0ffe7ffffeafffffd1ffffa97c1fffff07fffd8fffffc0eb9f63ffffffefffffc"
		"7fffffc3ff1ffffa7ffffe4fffffcca7fffd8ffff87e7ffffaff3fffd6ffffd5fffffe6867ffffaffffe5c7ffff4ffffff6f"
		"fffdedfffff45ffebfffe61ffffff47cffffaffffff7bfffff161fffffaf47fffe3fffff0fffffc9ffff67ffffd7ffffe7ff"
		"fff0fffffa3fffffbbfffcdffffd9fffedfbffffabfffff9bffffe6ffff4ffffcbff7bffffcbfffeeffff57f5fffffabffff"
		"0fffffddffffeffdfffff678d1ffffff21fffffff3fffffcbffffff7fffffbbfffe5fffffe6fffffe2fffffffbfffd687bbb"
		"fffffd7effffff67ffffedff9fffc7fffedf9ec18ff9fffffe9fffef7ffff77fff366ffc28affffa7ffffe7ffffbfffffe8f"
		"fffebfffe673fffec1bffffffdfffffff7ebfffdc3ffff8edfffff4d3ffff7a255f46bfffdfffffeef5fffddfe3fffb95fff"
		"ff1ff5fffffb3ffff97fffedfffffc7effffe9ffff93c7fffbdffff37ffff5ff9ffffffdffffa7fffdbb9d3fffff9ffffe6f"
		"ffff25ffffbbfffdef136bffffbdfffff66efffff6b927ffffd9fffffc5fffe97fffff4db07fffd7fffffebfffffd7ffff97"
		"5f9685b805e5a5a681a8fc35052f2aeab646a97f29bcd91e",
		":status=503\012xxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxx=\303\216-\265f(\245\004\316N\372\243 5\346g\354"
		"\255\333W\006\220\371\013P\275\341\077\370\232\313r}\332\330m3\246\213P\243\362\351\217\001f\276"
		"0]\367\365\250.E\300\001\32376;a\371\335\376\000\246\312\361 \001\265*\216X\210\250\027"
		"s3\216\275H\344\020\215T\306D(\276a\010*\222\313\326F\360M\227\253\336\207\355\325\253\332"
		"\021\343\220\243z\350\006\322\204\331>T\331\251\270(\367\225\377\353Z\307wM\0351\012\025\334\021"
		"\275\006\002\026\210Av7\016z\372\373|\303\212xq1b\042\013\247\224\200K\000 %\204\341"
		"\267\332\216\2006\001i\015\015,\244o\321u\354N\215_\012age=4\255\224y\241!\231"
		"p\277'\372\305\264\335z\344\273w\252\276\216\077\371\246\243:j\007\276\327.\241\247wgP\215"
		"\362S\3176d\362\002\201\013u=\351\031\016\233\012content-type=A"
		"5=2x4-g=4bw4=m8%7%rb%eXmC5c8\012"},
	{false, 677, 29, 15,
		"8d40899acac8b5254207317f821045",
		":status=404\012grpc-message=212\012"},
	{false, 818, 201, 19,
		"88bfc37f0289fa50d30164777e10557c82fb5b",
		":status=200\012content-type=A5=2x"
		"4-g=4bw4=m8%7%rb%eXmC5c8\012xxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxx=971\012"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"=, ig0-sv9A0n\012via=;-\012"},
	{false, 0, 237, 178,
		"20881f288e8c10f40732fbee06e951eb54100f1f27979db5e7e7facf4f7ebdd7ebd5cf5fada9e613ab3735baff768371c07f"
		"6182138140b5f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7"
		"cf9f3e7cf9f3e7cf9f89fa50d30164777e105510b5f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3"
		"e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f3e7cf9f837dd0ff",
		":status=200\012set-cookie=b0Aj0Ye"
		"zv05m 8u 20o\012server=h5.hYZ3jzy"
		"zpyy:yZ5 xAo%gY-k\012server=660\012d"
		"ate=261\012xxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxx=, ig0-sv9A0n\012xxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxx=971\012"},
	{false, 0, 12, 1,
		"8d",
		":status=404\012"},
	{false, 44, 26, 15,
		"3f218d40899acac8b5254207317f80",
		":status=404\012grpc-message=\012"},
	{false, 0, 228, 381,
		"48836c0cff5591fa9461856f1efbcbd241a808bea5f2fc25628278225f89f7daf7ebfdba7518e040899acac8b5254207317f"
		"ffc901ffff82dfffff66dffff7be3fffff39b7ffffa3ff5ffff1a307fff37fff75c63fffed7ffffc3ffff787fffffbbfffff"
		"b3027ffffafab5fffffd1ffff27fffd3fffe0ffffd3fffed7fffff47ffffffdfffffbbfffff27e7c7fffc5637ffffffbffff"
		"fb3675fffffb7ea35ffffdcffffd1fc45fffffbbfffbfffffebf3fcffffebffffc3fffff985ffffd5966fffe5fffe3fffffd"
		"ffffe6ffffd3f5fffffebffff8eafffffe5fafffff5fffed57ffffb3ffffe8ffffd7fffff369c3fffe9ffffddfffef7ffffd"
		"ffffff4fffffecffffd3ffff27ffff6ffffe3fffff9ffffffcfffffebfffffbfffffbffffeeadffff9bfffd2ffffb5ffffdb"
		"ffffff3fffe8fe7ffffddffefffffc5fffff3ffffe1fffff9bffffe9fffffd5fffeefffffedffffc9fffff966ffff6ffffd5"
		"fffffaffffff57ffcffffcb97fffff3ffff8ffffd99357fffffb2dfffff4e0",
		":status=503\012age=,fa1A-wzvfjda "
		"0_,fx9Ae\012etag=812\012content-type"
		"=zqCZ9qjkaa=\012grpc-message=\262u\307R"
		"\252&\364iT\346@\272sE\200\2416/\211\301\215a\374\017Et\216k4\010\273\344\260\246"
		"\240\010\026\374\336X&\271r5\334\372Qk\363,b.\244\245!_\374\254\355*\042\256\225\361"
		"2\011Jg\320\321\375\343\246,\031\227n\005,\355\342%\220\332\256\322NF\204\214\247\314\354\017"
		"\246\273\221\227\325\027\360\314\267\214-\235\201\211\221\035\346\042\352}\310\325\225\322\333\367\251\373\230\337"
		"g\243\206\360\367<\233J\364\321\234dO\032-\333E\012"},
	{false, 0, 112, 155,
		"48836c0cff7c9e5af73594259efd7477df427d7dd0ec45fba61aef7697b93ead4bed453da955f46bfffdfffffeef5fffddfe"
		"3fffb95fffff1ff5fffffb3ffff97fffedfffffc7effffe9ffff93c7fffbdffff37ffff5ff9ffffffdffffa7fffdbb9d3fff"
		"ff9ffffe6fffff25ffffbbfffdef136bffffbdfffff66efffff6b927ffffd9fffffc5fffe97fffff4db07fffd7fffffebfff"
		"ffd7ffff97",
		":status=503\012via=-CY- crzyj7zjc"
		",;l7_e;mApCqfvc,ut94_hut\012age=4"
		"\255\224y\241!\231p\277'\372\305\264\335z\344\273w\252\276\216\077\371\246\243:j\007\276\327."
		"\241\247wgP\215\362S\3176d\362\002\201\013u=\351\031\016\233\012"},
};
